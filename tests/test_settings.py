"""vsal.toml: which files count, and what may stand in them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.cli.app import app
from saliency_cli.errors import ReadError, UsageError
from saliency_cli.settings import KEYS, _check, find_settings, load_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, with a project in it that is no repository."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("APPDATA", raising=False)
    (tmp_path / "home" / "project" / "deep").mkdir(parents=True)
    return tmp_path / "home"


def put(folder: Path, text: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vsal.toml").write_text(text, encoding="utf-8")
    return folder / "vsal.toml"


def test_the_nearest_counts_and_then_the_users_own(home: Path) -> None:
    deep = home / "project" / "deep"
    assert find_settings(deep) == ()
    own, far = put(home / ".config" / "vsal"), put(home)
    assert find_settings(deep) == (far, own)
    near = put(home / "project")
    assert find_settings(deep) == (near, own)


def test_nothing_above_the_repository_or_outside_the_home_is_looked_at(home: Path) -> None:
    put(home)
    (home / "project" / ".git").mkdir()
    assert find_settings(home / "project" / "deep") == ()
    outside = home.parent / "shared" / "folder"
    outside.mkdir(parents=True)
    put(home.parent / "shared")
    assert find_settings(outside) == ()
    assert find_settings(outside.parent) == (outside.parent / "vsal.toml",)


def test_tables_come_before_common_keys_and_near_files_before_far_ones(tmp_path: Path) -> None:
    near = put(tmp_path / "near", 'model = "tased"\n[predict]\nthreads = 2\nwrite = "stats"')
    far = put(tmp_path / "far", "threads = 1\nopacity = 1\n[batch]\ncrf = 30\n[bench]\nmodel = 'tsfp'")
    settings = load_settings([near, far])
    assert settings.of("predict") == {"model": "tased", "threads": 2, "write": ["stats"], "opacity": 1}
    assert settings.of("batch") == {"model": "tased", "threads": 1, "opacity": 1, "crf": 30}
    assert settings.of("bench") == {"model": "tased", "threads": 1}
    assert settings.of("evaluate") == {"model": "tased", "threads": 1}
    assert settings.of("train") == {}
    common = load_settings([put(tmp_path, 'aspect = "1:1"\ncrf = 20\n[reframe]\ncrf = 25')])
    assert common.of("reframe") == {"aspect": "1:1", "crf": 25}
    assert common.of("predict") == {"crf": 20}


def test_weights_are_found_from_the_file(tmp_path: Path) -> None:
    path = put(tmp_path, 'weights = "mine.safetensors"')
    assert load_settings([path]).of("predict")["weights"] == "mine.safetensors"  # a name, for all that is known
    (tmp_path / "mine.safetensors").touch()
    assert load_settings([path]).of("predict")["weights"] == str(tmp_path / "mine.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "there is no option colour; use one of write, format"),
        ("[train]\nthreads = 1", r"there is no table \[train\]; use one of \[predict\], \[batch\]"),
        ("[bench]\nopacity = 1", r"\[bench\] has no option opacity; use one of model, weights"),
        ('threads = "2"', "threads = '2': must be a whole number"),
        ("threads = 2.5", "threads = 2.5: must be a whole number"),
        ("threads = true", "threads = true: must be a whole number"),
        ("threads = 0", "--threads 0: must be at least 1"),
        ("[predict]\nopacity = 2", "--opacity 2: must lie between 0 and 1"),
        ('opacity = "much"', "opacity = 'much': must be a number"),
        ("raw = 1", "raw = 1: must be true or false"),
        ("device = 0", "device = 0: must be text, in quotes"),
        ("weights = 1", "weights = 1: must be text, in quotes"),
        ('[predict]\nmodel = "unisal"', "predict.model = 'unisal': must be one of tsfp, tased"),
        ('write = ["overlay", "film"]', "must be one or several of overlay, heatmap"),
        ("write = []", "must be one or several of"),
        ("write = 3", "must be one or several of"),
        ("start = nan", "--start nan"),
        ("[predict]\naspect = '1:1'", r"\[predict\] has no option aspect"),
        ("[reframe]\naspect = 1", "reframe.aspect = 1: must be text, in quotes"),
        ("[reframe]\nheight = 1.5", "reframe.height = 1.5: must be a whole number"),
        ("[reframe]\npreview = 'yes'", "reframe.preview = 'yes': must be true or false"),
        ("[reframe]\nmax-speed = '1'", "reframe.max-speed = '1': must be a number"),
        ("[reframe]\ncrf = 60", "--crf 60"),
        ("threads 2", "is no TOML"),
        (f"threads = {'1' * 5000}", "is no TOML"),
        (f"write = {'[' * 5000}", "is no TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        load_settings([path])
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count("\n") == 0


def test_what_editors_put_before_the_text_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "vsal.toml"
    path.write_text("threads = 3", encoding="utf-8-sig")
    assert load_settings([path]).of("predict") == {"threads": 3}
    for encoding in ("utf-16", "latin-1"):
        path.write_text('weights = "größer"', encoding=encoding)
        with pytest.raises(UsageError, match="is no TOML") as caught:
            load_settings([path])
        assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("value", ["~nobody-of-this-name/mine.safetensors", "long" * 100, "\\u0000"])
def test_weights_that_are_no_file_are_a_name(tmp_path: Path, value: str) -> None:
    path = put(tmp_path, f'weights = "{value}"')
    assert load_settings([path]).of("predict")["weights"] == value.replace("\\u0000", "\0")


def test_what_may_not_be_looked_at_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*arguments: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    near = put(home / "project")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", closed)  # as in a home that is another user's
        patch.setattr("os.stat", closed)
        assert find_settings(home / "project") == ()
    monkeypatch.setenv("XDG_CONFIG_HOME", "/" + "long" * 100)
    monkeypatch.setenv("APPDATA", "C:\\" + "long" * 100)
    assert find_settings(home / "project") == (near,)


def test_a_folder_that_was_removed_holds_no_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    own = put(home / ".config" / "vsal")
    monkeypatch.setattr(Path, "cwd", gone)
    assert find_settings() == (own,)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        load_settings([tmp_path / "none.toml"])


@given(
    st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text())),
    st.sampled_from(KEYS["predict"]),
)
def test_any_value_is_taken_or_refused(value: Any, key: str) -> None:
    with suppress(UsageError):  # and nothing else
        _check(Path("vsal.toml"), key, key, value)


@pytest.mark.parametrize("command", list(KEYS))
def test_every_key_is_an_option_of_its_command(command: str) -> None:
    options = {flag for each in typer.main.get_command(app).commands[command].params for flag in each.opts}  # type: ignore[attr-defined]
    assert {f"--{key}" for key in KEYS[command]} <= options
    shared = {f"--{key}" for key in KEYS["predict"]} & options
    assert shared - {f"--{key}" for key in KEYS[command]} <= {"--layout"}  # vsal evaluate's is another
