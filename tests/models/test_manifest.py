"""The manifest, the store, and downloads from a server of our own."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from saliency_cli.errors import WeightsError
from saliency_cli.models import download, manifest

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """How the server answers, and what it was asked."""

    content: bytes = CONTENT
    kind: str = "application/octet-stream"
    ranges: bool = True
    etag: str = '"first"'
    break_after: int | None = None  # bytes; of the next answer only
    status: int = 200
    redirect: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    behaviour = Behaviour()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        how = self.server.behaviour
        how.requests.append({key.lower(): value for key, value in self.headers.items()})
        if how.redirect:
            self.send_response(302)
            self.send_header("Location", how.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if how.status != 200:
            self.send_error(how.status)
            return
        begin = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if how.ranges and wanted and self.headers.get("If-Range", how.etag) == how.etag:
            begin = int(wanted[1])
            if begin >= len(how.content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(how.content) - 1}/{len(how.content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", how.kind)
        self.send_header("Content-Length", str(len(how.content) - begin))
        if how.etag:
            self.send_header("ETag", how.etag)
        self.end_headers()
        end, how.break_after = how.break_after, None
        self.wfile.write(how.content[begin:end])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.behaviour = Behaviour()
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VSAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "store"


def offer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sha256: str = "", url: str | None = None
) -> None:
    """A manifest with one entry, ``net``, that the server has."""
    folder = tmp_path / "package"
    folder.mkdir()
    url = f"http://127.0.0.1:{server.server_address[1]}/net.pt" if url is None else url
    (folder / "manifest.toml").write_text(
        f'[net]\nfile = "net.pt"\narchitecture = "tased"\ndescription = "d"\nurl = "{url}"\nsha256 = "{sha256}"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(manifest, "weights_folder", lambda: folder)


@pytest.fixture
def pinned(server: Server, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The manifest knows the sum; the path that the file will have."""
    offer(server, tmp_path, monkeypatch, sha256=SHA256)
    return store / "net.pt"


@pytest.fixture
def unpinned(server: Server, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The manifest does not know the sum; the path that the file will have."""
    offer(server, tmp_path, monkeypatch)
    return store / "net.pt"


class TestPull:
    def test_good(self, pinned: Path) -> None:
        steps: list[tuple[int, int | None]] = []
        assert manifest.find("net") is None
        path = manifest.pull("net", progress=lambda done, total: steps.append((done, total)))
        assert path == pinned == manifest.find("net")
        assert path.read_bytes() == CONTENT
        assert steps[-1] == (len(CONTENT), len(CONTENT))
        assert steps == sorted(steps)
        assert {entry.name for entry in pinned.parent.iterdir()} <= {"net.pt", "net.pt.lock"}

    def test_cached(self, pinned: Path, server: Server) -> None:
        manifest.pull("net")
        manifest.pull("net")
        assert len(server.behaviour.requests) == 1

    def test_corrupt(self, pinned: Path, server: Server) -> None:
        server.behaviour.content = CONTENT[::-1]
        with pytest.raises(WeightsError, match="was removed"):
            manifest.pull("net")
        assert {entry.name for entry in pinned.parent.iterdir()} <= {"net.pt.lock"}
        server.behaviour.content = CONTENT
        assert manifest.pull("net").read_bytes() == CONTENT

    def test_interrupted_and_resumed(self, pinned: Path, server: Server) -> None:
        server.behaviour.break_after = 300_000
        with pytest.raises(WeightsError, match="broke off after 300000 of 1048576 bytes"):
            manifest.pull("net")
        assert not pinned.exists()
        assert manifest.pull("net").read_bytes() == CONTENT
        assert server.behaviour.requests[1]["range"] == "bytes=300000-"
        assert {entry.name for entry in pinned.parent.iterdir()} <= {"net.pt", "net.pt.lock"}

    @pytest.mark.parametrize("etag", ['"first"', ""])
    def test_a_server_that_cannot_resume_starts_again(self, pinned: Path, server: Server, etag: str) -> None:
        server.behaviour.ranges, server.behaviour.etag = False, etag
        server.behaviour.break_after = 300_000
        with pytest.raises(WeightsError, match="broke off"):
            manifest.pull("net")
        assert manifest.pull("net").read_bytes() == CONTENT

    def test_a_file_that_changed_meanwhile_starts_again(self, unpinned: Path, server: Server) -> None:
        server.behaviour.break_after = 300_000
        with pytest.raises(WeightsError, match="broke off"):
            manifest.pull("net", unverified=True)
        server.behaviour.content, server.behaviour.etag = CONTENT[::-1], '"second"'
        assert manifest.pull("net", unverified=True).read_bytes() == CONTENT[::-1]

    def test_versions_that_nobody_can_tell_apart_are_not_mixed(self, unpinned: Path, server: Server) -> None:
        server.behaviour.etag = ""
        server.behaviour.break_after = 300_000
        with pytest.raises(WeightsError, match="broke off"):
            manifest.pull("net", unverified=True)
        server.behaviour.content = CONTENT[::-1]
        assert manifest.pull("net", unverified=True).read_bytes() == CONTENT[::-1]

    def test_a_part_longer_than_the_file_starts_again(self, pinned: Path) -> None:
        pinned.parent.mkdir()
        pinned.with_name("net.pt.part").write_bytes(CONTENT + b"more")
        assert manifest.pull("net").read_bytes() == CONTENT

    @pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
    def test_a_web_page_is_no_file(self, unpinned: Path, server: Server, kind: str) -> None:
        server.behaviour.content = b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title></html>"
        server.behaviour.kind = kind
        with pytest.raises(WeightsError, match="sent a web page") as caught:
            manifest.pull("net", unverified=True)
        assert str(unpinned) in str(caught.value)
        assert {entry.name for entry in unpinned.parent.iterdir()} <= {"net.pt.lock"}

    def test_a_web_page_instead_of_the_rest_does_not_end_up_in_the_file(self, pinned: Path, server: Server) -> None:
        server.behaviour.break_after = 300_000
        with pytest.raises(WeightsError, match="broke off"):
            manifest.pull("net")
        server.behaviour.content, server.behaviour.etag = b"<html></html>", ""
        with pytest.raises(WeightsError, match="sent a web page"):
            manifest.pull("net")
        assert not pinned.exists()

    def test_a_web_page_does_not_cost_what_was_downloaded_before(self, pinned: Path, server: Server) -> None:
        server.behaviour.break_after = 300_000
        with pytest.raises(WeightsError, match="broke off"):
            manifest.pull("net")
        server.behaviour.content, server.behaviour.ranges = b"<html></html>", False
        with pytest.raises(WeightsError, match="sent a web page"):
            manifest.pull("net")
        server.behaviour.content, server.behaviour.ranges = CONTENT, True
        assert manifest.pull("net").read_bytes() == CONTENT
        assert server.behaviour.requests[-1]["range"] == "bytes=300000-"

    def test_an_empty_file(self, unpinned: Path, server: Server) -> None:
        server.behaviour.content = b""
        with pytest.raises(WeightsError, match="empty"):
            manifest.pull("net", unverified=True)
        assert not unpinned.exists()

    @pytest.mark.parametrize("status", [403, 404, 500, 503])
    def test_a_server_that_refuses(self, pinned: Path, server: Server, status: int) -> None:
        server.behaviour.status = status
        with pytest.raises(WeightsError, match=f"answered {status}") as caught:
            manifest.pull("net")
        assert "browser" in str(caught.value)

    def test_no_server(self, pinned: Path, server: Server) -> None:
        server.server_close()
        with pytest.raises(WeightsError, match="check the connection"):
            manifest.pull("net")

    @pytest.mark.parametrize("target", ["http://example.org/net.pt", "file:///etc/hostname", "ftp://localhost/net.pt"])
    def test_only_https_also_after_a_redirect(self, pinned: Path, server: Server, target: str) -> None:
        server.behaviour.redirect = target
        with pytest.raises(WeightsError):
            manifest.pull("net")
        assert not pinned.exists()

    @pytest.mark.parametrize("url", ["http://example.org/net.pt", "file:///etc/hostname", "http://localhost.org/x"])
    def test_only_https(
        self, server: Server, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        offer(server, tmp_path, monkeypatch, url=url, sha256=SHA256)
        with pytest.raises(WeightsError, match="HTTPS only"):
            manifest.pull("net")

    def test_a_store_that_cannot_be_made(self, pinned: Path, tmp_path: Path) -> None:
        (tmp_path / "store").write_text("a file", encoding="utf-8")
        with pytest.raises(WeightsError, match="VSAL_STORE"):
            manifest.pull("net")

    def test_two_at_once_download_once(self, pinned: Path, server: Server) -> None:
        threads = [Thread(target=manifest.pull, args=("net",)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pinned.read_bytes() == CONTENT
        assert len(server.behaviour.requests) == 1


class TestPins:
    def test_what_nobody_can_check_is_not_fetched_unasked(self, unpinned: Path, server: Server) -> None:
        with pytest.raises(WeightsError, match=r"names no checksum.*`vsal models pull net --unverified`"):
            manifest.pull("net")
        assert server.behaviour.requests == []
        assert not unpinned.parent.exists()

    def test_the_first_download_is_pinned_and_said_so(self, unpinned: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            manifest.pull("net", unverified=True)
        assert SHA256 in caplog.text
        assert (unpinned.parent / "net.pt.sha256").read_text(encoding="utf-8") == f"{SHA256}  net.pt\n"
        assert manifest.verify("net") == manifest.Verified("net", unpinned, SHA256, SHA256)

    def test_a_file_put_there_by_hand_is_pinned_by_pull(self, unpinned: Path, server: Server) -> None:
        unpinned.parent.mkdir()
        unpinned.write_bytes(CONTENT)
        assert manifest.verify("net").expected is None
        assert manifest.pull("net") == unpinned
        assert manifest.verify("net").expected == SHA256
        assert server.behaviour.requests == []

    def test_a_later_download_is_held_to_the_pin(self, unpinned: Path, server: Server) -> None:
        manifest.pull("net", unverified=True).unlink()
        server.behaviour.content, server.behaviour.etag = CONTENT[::-1], '"second"'
        with pytest.raises(WeightsError, match="should have"):
            manifest.pull("net")  # the pin is a checksum
        assert not unpinned.exists()

    def test_a_damaged_pin_is_refused(self, unpinned: Path) -> None:
        manifest.pull("net", unverified=True).with_name("net.pt.sha256").write_bytes(b"")
        with pytest.raises(WeightsError, match=r"holds no SHA-256"):
            manifest.verify("net")

    def test_a_file_that_changed_is_refused(self, unpinned: Path) -> None:
        manifest.pull("net", unverified=True).write_bytes(b"something else")
        with pytest.raises(WeightsError, match="delete it and run `vsal models pull net --unverified`"):
            manifest.verify("net")


class TestPullFromAPlace:
    """Weights of the repository that the wheel does not carry."""

    @pytest.fixture
    def wheel(self, server: Server, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The manifest names the sum and no address; the path that the file will have."""
        offer(server, tmp_path, monkeypatch, sha256=SHA256, url="")
        return store / "net.pt"

    def test_without_a_place(self, wheel: Path) -> None:
        with pytest.raises(WeightsError, match="run `vsal models pull net --from PLACE`"):
            manifest.pull("net")
        assert not wheel.exists()

    def test_a_clones_folder(self, wheel: Path, tmp_path: Path) -> None:
        (tmp_path / "clone").mkdir()
        (tmp_path / "clone" / "net.pt").write_bytes(CONTENT)
        assert manifest.pull("net", place=str(tmp_path / "clone")) == wheel
        assert wheel.read_bytes() == CONTENT
        assert (tmp_path / "clone" / "net.pt").exists()
        assert not wheel.with_name("net.pt.part").exists()

    @pytest.mark.parametrize("end", ["", "/"])
    def test_an_address(self, wheel: Path, server: Server, end: str) -> None:
        assert manifest.pull("net", place=f"http://127.0.0.1:{server.server_address[1]}{end}") == wheel
        assert wheel.read_bytes() == CONTENT

    def test_another_file_of_that_name(self, wheel: Path, tmp_path: Path) -> None:
        (tmp_path / "net.pt").write_bytes(b"older weights")
        with pytest.raises(WeightsError, match=f"should have {SHA256}; it was removed: run .*, or copy "):
            manifest.pull("net", place=str(tmp_path))
        assert not wheel.exists()
        assert not wheel.with_name("net.pt.part").exists()
        assert (tmp_path / "net.pt").read_bytes() == b"older weights"

    def test_a_folder_without_it(self, wheel: Path, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"holds no net\.pt: name a folder, or an https address, where it lies"):
            manifest.pull("net", place=str(tmp_path))

    def test_an_address_that_is_not_https(self, wheel: Path) -> None:
        with pytest.raises(WeightsError, match="over HTTPS only"):
            manifest.pull("net", place="ftp://example.org/weights")


class TestPlaces:
    def test_the_manifest_of_this_project(self) -> None:
        known = manifest.entries()
        assert list(known) == ["tsfp-lite0", "tased-dhf1k", "tased-open", "tsfp-s3d-open"]
        assert [name for name, entry in known.items() if entry.in_wheel] == ["tsfp-lite0"]
        assert all(entry.sha256 for entry in known.values() if not entry.url)
        tased = known["tased-dhf1k"]
        assert (tased.file, tased.licence) == ("TASED_updated.pt", "MIT")
        assert tased.url.startswith("https://drive.usercontent.google.com/")

    def test_what_comes_with_the_package_goes_before_the_store(
        self, server: Server, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offer(server, tmp_path, monkeypatch, url="")
        with pytest.raises(WeightsError, match="lie in the folder weights of vsal's repository, not in its wheel"):
            manifest.pull("net")
        store.mkdir()
        (store / "net.pt").write_bytes(b"downloaded")
        embedded = tmp_path / "package" / "net.pt"
        embedded.write_bytes(b"embedded")
        assert manifest.pull("net") == embedded == manifest.find("net")

    def test_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(manifest.sys, "platform", "linux")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("VSAL_STORE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert manifest.store() == tmp_path / ".cache" / "vsal" / "weights"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert manifest.store() == tmp_path / "cache" / "vsal" / "weights"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
        assert manifest.store() == tmp_path / ".cache" / "vsal" / "weights"
        monkeypatch.setenv("VSAL_STORE", "~/mine")
        assert manifest.store() == tmp_path / "mine"
        assert not (tmp_path / "mine").exists()

    def test_unknown_names(self) -> None:
        for function in (manifest.find, manifest.verify, manifest.pull):
            with pytest.raises(WeightsError, match="use one of tsfp-lite0, tased-dhf1k"):
                function("nothing")

    @pytest.mark.parametrize("text", ["[net", "[net]\nfile = 'x'\n", "[net]\nfil = 'x'\n", "net = 3\n"])
    def test_a_manifest_that_makes_no_sense(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        (tmp_path / "manifest.toml").write_text(text, encoding="utf-8")
        monkeypatch.setattr(manifest, "weights_folder", lambda: tmp_path)
        with pytest.raises(WeightsError, match=r"manifest\.toml cannot be understood"):
            manifest.entries()


def test_a_server_that_falls_silent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(download, "_receive", wait)
    with pytest.raises(WeightsError, match="timed out"):
        download.download(f"http://127.0.0.1:{server.server_address[1]}/", tmp_path / "x.part")
