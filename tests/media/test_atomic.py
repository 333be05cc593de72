from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from saliency_cli.errors import WriteError
from saliency_cli.media import atomic_file, atomic_folder, mark_temporary_files, remove_marked


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    goal = tmp_path / "new" / "deeper" / "clip.mp4"
    with atomic_file(goal) as temporary:
        temporary.write_bytes(b"x")
        assert not goal.exists()
        assert (temporary.parent, temporary.suffix, temporary.name[0]) == (goal.parent, ".mp4", ".")
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert goal.read_bytes() == b"x"
    assert list(goal.parent.iterdir()) == [goal]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupted_file_leaves_the_earlier_one(tmp_path: Path, error: type[BaseException]) -> None:
    goal = tmp_path / "clip.mp4"
    goal.write_bytes(b"earlier")

    def interrupted() -> None:
        with atomic_file(goal) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert goal.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [goal]


def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    goal = tmp_path / "a"
    goal.touch()
    goal.chmod(0o604)
    with atomic_file(goal):
        pass
    assert stat.S_IMODE(goal.stat().st_mode) == 0o604


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    goal, link = tmp_path / "goal.txt", tmp_path / "link.txt"
    goal.write_text("earlier")
    link.symlink_to(goal)
    with atomic_file(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert goal.read_text() == "new"


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only")],
)
def test_errors_in_the_block_say_what_to_do(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(WriteError, match=message) as caught, atomic_file(tmp_path / "clip.mp4"):
        raise OSError(number, os.strerror(number))
    assert "clip.mp4" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = tmp_path / "clip.mp4"
    goal.write_bytes(b"earlier")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="the disk is full"), atomic_file(goal) as temporary:
        temporary.write_bytes(b"new")
    assert goal.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [goal]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="a folder of this name"), atomic_file(tmp_path):
        pass


def test_a_file_is_no_parent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="a part of the path is a file"), atomic_file(tmp_path / "file" / "clip.mp4"):
        pass


def test_a_long_name_fails_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="too long"), atomic_file(tmp_path / ("x" * 300)):
        pytest.fail("the block must not run")


def test_devices_are_not_replaced() -> None:
    with pytest.raises(WriteError, match="not an ordinary file"), atomic_file("/dev/null"):
        pass
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    goal = tmp_path / "maps"
    with atomic_folder(goal) as temporary:
        (temporary / "000001.png").touch()
        assert not goal.exists()
    assert [path.name for path in goal.iterdir()] == ["000001.png"]
    assert list(tmp_path.iterdir()) == [goal]


def test_a_new_folder_replaces_the_earlier_one_whole(tmp_path: Path) -> None:
    goal = tmp_path / "maps"
    goal.mkdir()
    for number in (1, 2, 3):
        (goal / f"{number:06d}.png").write_text("earlier")
    with atomic_folder(goal) as temporary:
        (temporary / "000001.png").write_text("new")
        assert len(list(goal.iterdir())) == 3
    assert [(path.name, path.read_text()) for path in goal.iterdir()] == [("000001.png", "new")]
    assert list(tmp_path.iterdir()) == [goal]


def test_an_interrupted_folder_leaves_the_earlier_one(tmp_path: Path) -> None:
    goal = tmp_path / "maps"
    goal.mkdir()
    (goal / "000001.png").write_text("earlier")

    def interrupted() -> None:
        with atomic_folder(goal) as temporary:
            (temporary / "000001.png").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (goal / "000001.png").read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [goal]


def test_a_swap_that_fails_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = tmp_path / "maps"
    goal.mkdir()
    (goal / "000001.png").write_text("earlier")
    rename, calls = os.rename, []

    def second_fails(old: Path, new: Path) -> None:
        calls.append(new)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(old, new)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(WriteError, match="input/output"), atomic_folder(goal):
        pass
    assert (goal / "000001.png").read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [goal]


def test_the_users_own_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(WriteError, match=r"thesis\.tex"), atomic_folder(tmp_path):
        pass
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "maps").touch()
    with pytest.raises(WriteError, match="pictures need a folder"), atomic_folder(tmp_path / "maps"):
        pass


def test_nobody_else_sees_a_folder_that_is_half_full(tmp_path: Path) -> None:
    goal = tmp_path / "maps"
    before = os.umask(0o027)
    try:
        with atomic_folder(goal) as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert stat.S_IMODE(goal.stat().st_mode) == 0o750


def test_what_a_dead_process_left_is_known_by_its_mark(tmp_path: Path) -> None:
    mark_temporary_files("a1")
    try:
        with atomic_file(tmp_path / "clip.mp4") as file, atomic_folder(tmp_path / "maps") as folder:
            assert file.name.startswith(".vsal-a1-")
            assert folder.name.startswith(".vsal-a1-")
    finally:
        mark_temporary_files("")
    with atomic_file(tmp_path / "other") as file:
        assert "-" not in file.name.removeprefix(".vsal-")
    left = [".vsal-a1-0123.mp4", ".vsal-a1-45.old/0001.png", ".vsal-b2-01.mp4", ".vsal-a123.mp4", ".vsal-ledger.lock"]
    for name in left:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert remove_marked(tmp_path, {"a1", "c3"}) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "maps", "other", *left[2:]}
    assert remove_marked(tmp_path / "missing", {"a1"}) == 0
    with pytest.raises(ValueError, match="letters and digits"):
        mark_temporary_files("../x")
