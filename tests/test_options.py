"""Options are refused with a sentence before anything is read."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any, get_args

import pytest

from saliency_cli import render
from saliency_cli.errors import UsageError
from saliency_cli.media import DecoderChoice
from saliency_cli.models.config import Architecture
from saliency_cli.options import Colormap, Decoder, Model, PredictOptions

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"write": ()}, "at least one product"),
    ({"write": ("overlay", "overlay")}, "named twice"),
    ({"write": ("movie",)}, "--write movie: must be one of overlay, heatmap"),
    ({"form": "gif"}, "--format gif: must be one of auto, video, png"),
    ({"model": "unisal"}, "--model unisal: must be one of tsfp, tased"),
    ({"normalize": "all"}, "--normalize all"),
    ({"precision": "fp8"}, "--precision fp8"),
    ({"decoder": "ffmpeg"}, "--decoder ffmpeg"),
    ({"colormap": "hot"}, "--colormap hot"),
    ({"bits": 12}, "--bits 12: must be 8 or 16"),
    ({"opacity": 1.1}, "--opacity 1.1"),
    ({"opacity": float("nan")}, "--opacity nan"),
    ({"crf": 52}, "--crf 52"),
    ({"start": -1.0}, "--start -1.0: must be a number of seconds from 0 on"),
    ({"start": float("nan")}, "--start nan"),
    ({"end": float("nan")}, "--end nan"),
    ({"start": 2.0, "end": 2.0}, "--end 2.0: must be a number of seconds after the start"),
    ({"end": 0.0}, "--end 0.0: must be a number of seconds after the start"),
    ({"end": float("inf")}, "--end inf"),
    ({"rate": 0.0}, "--fps 0.0"),
    ({"rate": float("nan")}, "--fps nan"),
    ({"threads": 0}, "--threads 0"),
    ({"layout": "dhf2k"}, "--layout dhf2k: must be one of vsal, dhf1k"),
    ({"layout": "dhf1k"}, "a form of maps alone; use it with --write maps"),
    ({"layout": "dhf1k", "write": ("maps", "stats")}, "a form of maps alone"),
    ({"layout": "dhf1k", "write": ("maps",), "form": "video"}, "leave out --format video"),
    ({"layout": "dhf1k", "write": ("maps",), "bits": 16}, "leave out --bits 16"),
    ({"layout": "dhf1k", "write": ("maps",), "raw": True}, "leave out --raw"),
    ({"layout": "dhf1k", "write": ("maps",), "start": 1.0}, "leave out --start and --end"),
    ({"layout": "dhf1k", "write": ("maps",), "end": 1.0}, "leave out --start and --end"),
    ({"raw": True}, "which make no overlay"),
    ({"raw": True, "write": ("maps", "side-by-side")}, "which make no side-by-side"),
    ({"raw": True, "write": ("arrays",), "normalize": "video"}, "leave out --normalize"),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG)
def test_a_wrong_value_is_named_and_the_right_ones_listed(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        PredictOptions(**wrong)
    assert sentence in str(caught.value)


def test_values_at_the_edges_are_right() -> None:
    PredictOptions(opacity=0, crf=0, start=0, end=0.001, rate=1000, threads=1, bits=16)
    PredictOptions(layout="dhf1k", write=("maps",), form="png", normalize="video", rate=25)
    PredictOptions(opacity=1, crf=51, write=("maps", "arrays", "stats"), raw=True)


def test_options_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        PredictOptions().bits = 16  # type: ignore[misc]


def test_the_lists_of_values_are_those_of_the_rooms_that_use_them() -> None:
    assert set(get_args(Colormap)) == set(render.COLORMAPS)
    assert set(get_args(Model)) == set(get_args(Architecture))
    assert set(get_args(Decoder)) == set(get_args(DecoderChoice))
