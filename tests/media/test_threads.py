"""How many threads decoders and encoders take."""

from __future__ import annotations

import os

import pytest

from saliency_cli.media.threads import decoder_threads, encoder_threads


@pytest.mark.parametrize(
    ("asked", "variable", "cores", "decoder", "encoder"),
    [
        (None, None, 2, 2, 0),  # nobody said anything: one a core, and x264's own choice
        (None, None, 64, 8, 0),
        (None, None, None, 1, 0),
        (1, None, 4, 1, 1),
        (3, "1", 4, 3, 3),  # what is asked for goes before the variable
        (16, None, 4, 8, 16),
        (None, "1", 4, 1, 1),
        (None, "3,2", 4, 3, 3),
        (None, "", 4, 4, 0),
        (None, "0", 4, 4, 0),
        (None, "many", 4, 4, 0),
    ],
)
def test_the_number_asked_for_or_that_of_the_variable_or_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    asked: int | None,
    variable: str | None,
    cores: int | None,
    decoder: int,
    encoder: int,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert (decoder_threads(asked), encoder_threads(asked)) == (decoder, encoder)
