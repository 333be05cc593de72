"""Files damaged at random give frames or one clear sentence: no other error, no crash, no hang, no flood of memory."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from mutants import make_originals, mutants, read_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_originals(tmp_path_factory.mktemp("originals"))


def test_damaged_files_do_no_harm(originals: list[Path], tmp_path: Path) -> None:
    report = read_all(mutants(originals, tmp_path, count=290, seed=5), limit=30)
    assert not report.faults
    assert report.outcomes.total() == 290
    read = sum(count for outcome, count in report.outcomes.items() if "auto ok" in outcome)
    assert 60 < read < 230  # the damage is neither too little nor too much


def test_the_undamaged_files_are_read(originals: list[Path]) -> None:
    report = read_all(originals, limit=30)
    assert not report.faults
    assert all(re.search("auto ok|sound ok", outcome) for outcome in report.outcomes)


def test_a_crash_would_be_seen(tmp_path: Path) -> None:
    """A process without memory, to see that the watching works."""
    report = read_all([tmp_path / "a"], limit=30, memory=1 << 20)
    assert "takes the process down" in report.faults[str(tmp_path / "a")]
