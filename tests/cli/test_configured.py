"""Flags, then variables, then vsal.toml; and the help page says what is in force."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip

pytestmark = pytest.mark.timeout(120)


def page(vsal: Any, *arguments: str) -> str:
    result = vsal(*arguments, "--help")
    assert result.exit_code == 0, result.stderr
    return re.sub(r"\s+", " ", result.stdout)


def test_flags_then_variables_then_the_file(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    Path("vsal.toml").write_text('decoder = "pyav"\n[predict]\nwrite = "stats"\nnormalize = "none"\nbits = 16\n')

    def options(*arguments: str) -> dict[str, Any]:
        result = vsal("predict", "clip.mp4", *arguments)
        assert result.exit_code == 0, result.stderr
        record: dict[str, Any] = json.loads(Path(f"{result.stdout.strip()}.json").read_text())
        return record["options"]

    found = options()
    assert (found["decoder"], found["normalize"], found["bits"]) == ("pyav", "none", 16)
    monkeypatch.setenv("VSAL_DECODER", "decord")
    assert options()["decoder"] == "decord"
    assert options("--decoder", "auto")["decoder"] == "auto"


def test_the_help_page_says_what_is_in_force(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = page(vsal, "predict")
    assert "[default: overlay]" in plain
    assert "[default: their choice]" in plain
    Path("vsal.toml").write_text("threads = 3\n[predict]\nwrite = ['stats', 'maps']\nraw = true\nopacity = 0.25")
    monkeypatch.setenv("VSAL_DEVICE", "cuda:7")
    changed = page(vsal, "predict")
    for said in ("[default: stats, maps]", "default: 3]", "[default: raw]", "[default: 0.25]", "default: cuda:7]"):
        assert said in changed
    assert "their choice" not in changed
    assert "default: 3]" in page(vsal, "evaluate")
    assert "[default: overlay]" in page(vsal, "batch")
    assert page(vsal, "--no-config", "predict").replace("cuda:7", "auto") == plain


def test_another_file_or_none(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.toml").write_text("opacity = 0.125")
    assert "[default: 0.125]" in page(vsal, "--config", "other.toml", "predict")
    monkeypatch.setenv("VSAL_CONFIG", "other.toml")
    assert "[default: 0.125]" in page(vsal, "predict")
    assert "[default: 0.7]" in page(vsal, "--no-config", "predict")


def test_a_users_own_file(vsal: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config" / "vsal").mkdir(parents=True)
    (tmp_path / "config" / "vsal" / "vsal.toml").write_text("crf = 30\nopacity = 0.125")
    Path("vsal.toml").write_text("crf = 31")
    text = page(vsal, "predict")
    assert "[default: 31]" in text
    assert "[default: 0.125]" in text


@pytest.mark.parametrize(
    ("text", "arguments", "code", "said"),
    [
        ("colour = 1", ("predict", "clip.mp4"), 2, "vsal.toml: there is no option colour"),
        ("[predict]\nbits = 'x'", ("batch", "here", "-o", "there"), 2, "vsal.toml: predict.bits = 'x'"),
        ("", ("--config", "none.toml", "predict", "clip.mp4"), 3, "none.toml does not exist"),
        ("", ("--config", "vsal.toml", "--no-config", "predict", "clip.mp4"), 2, "exclude each other"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    vsal: Any, folder: Path, text: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    Path("vsal.toml").write_text(text)
    result = vsal(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("vsal: error: ")
    assert said in line


def test_reframe_has_options_of_its_own(vsal: Any, folder: Path) -> None:
    make_clip(folder / "clip.mp4", frames=4, size=(96, 54))
    Path("vsal.toml").write_text("crf = 30\n[reframe]\naspect = '1:1'\nmax-speed = 1\npreview = true\nend = 0.1")
    assert "[default: 1:1]" in page(vsal, "reframe")

    def options(*arguments: str) -> dict[str, Any]:
        result = vsal("reframe", "clip.mp4", *arguments)
        assert result.exit_code == 0, result.stderr
        record: dict[str, Any] = json.loads(Path(f"{result.stdout.strip()}.json").read_text())
        assert record["frames"] == 3
        return record["options"]

    found = options()
    assert (found["aspect"], found["crf"], found["max_speed"], found["preview"]) == ("1:1", 30, 1, True)
    found = options("--aspect", "4:5", "--no-preview")
    assert (found["aspect"], found["preview"]) == ("4:5", False)


def test_other_commands_do_not_mind(vsal: Any, folder: Path) -> None:
    Path("vsal.toml").write_text("colour = 1")
    assert vsal("models", "list").exit_code == 0
