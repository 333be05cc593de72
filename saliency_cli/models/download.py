"""One file over HTTPS, resumed where the last attempt ended. This module imports no torch."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from saliency_cli.errors import WeightsError

__all__ = ["download", "drop_unlabelled"]

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18  # bytes


def download(
    url: str,
    part: Path,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    otherwise: str = "download it by hand",
) -> None:
    """Bring ``url`` into the file ``part``, going on from what ``part`` already holds.

    A server that cannot resume, or whose file changed meanwhile, makes it start again. Raises ``WeightsError``, with
    the remedy ``otherwise``, if the server fails or sends a web page; ``part`` then keeps what it has for the next
    attempt, unless it is of no use. ``OSError`` of the disk passes.
    """
    _check(url, url)
    label = _label_of(part)
    try:
        with _open(url, part, label) as response:
            _receive(response, part, label, url, progress, otherwise)
    except HTTPError as error:
        error.close()
        raise WeightsError(f"{url} answered {error.code} {error.reason}: try again later, or {otherwise}.") from error
    except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise WeightsError(
            f"{url} cannot be read ({reason}): check the connection and try again, which resumes, or {otherwise}."
        ) from error
    label.unlink(missing_ok=True)


def drop_unlabelled(part: Path) -> None:
    """Remove a part of which nobody can say to which version of the file it belongs.

    For files whose checksum is not known: going on could mix two versions, and nothing would show it.
    """
    if not _label_of(part).is_file():
        part.unlink(missing_ok=True)


def _label_of(part: Path) -> Path:
    """Where the version of the file stands that the part belongs to."""
    return part.with_name(f"{part.name}.etag")


def _open(url: str, part: Path, label: Path) -> Any:
    """The response, for the rest of the file if ``part`` holds its beginning."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "vsal", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if label.is_file():
            headers["If-Range"] = label.read_text(encoding="ascii")
    opener = build_opener(_OnlyHTTPS)
    try:
        return opener.open(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # 416: the part is no beginning of this file, or all of it
            raise
        error.close()
        part.unlink()
        return opener.open(Request(url, headers=headers | {"Range": "bytes=0-"}), timeout=TIMEOUT)


def _receive(
    response: Any,
    part: Path,
    label: Path,
    url: str,
    progress: Callable[[int, int | None], None] | None,
    otherwise: str,
) -> None:
    done, total = _position(response)
    if part.is_file() and done not in (0, part.stat().st_size):
        part.unlink()
        raise WeightsError(
            f"{url} resumed at the wrong byte, so the partial file was removed: try again, or {otherwise}."
        )
    first = response.read(CHUNK)
    if _is_web_page(response.headers.get("Content-Type", ""), first if done == 0 else b""):
        raise WeightsError(
            f"{url} sent a web page instead of the file, as Google Drive does when a file was asked for too often or "
            f"has moved: {otherwise}."
        )
    etag = response.headers.get("ETag", "")
    if etag.startswith('"') and etag.isascii():  # weak ones do not promise equal bytes
        label.write_text(etag, encoding="ascii")
    else:
        label.unlink(missing_ok=True)
    with part.open("ab" if done else "wb") as file:
        done = _copy(response, first, file, done, total, progress)
    if total is not None and done != total:
        raise WeightsError(f"{url} broke off after {done} of {total} bytes: try again, which resumes, or {otherwise}.")
    if done == 0:
        raise WeightsError(f"{url} sent an empty file: try again later, or {otherwise}.")


def _copy(
    response: Any,
    chunk: bytes,
    file: IO[bytes],
    done: int,
    total: int | None,
    progress: Callable[[int, int | None], None] | None,
) -> int:
    while chunk:
        file.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
        chunk = response.read(CHUNK)
    return done


def _position(response: Any) -> tuple[int, int | None]:
    """At which byte of the file the response starts, and how many bytes the file has."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if match:
            return int(match[1]), None if match[2] == "*" else int(match[2])
        raise http.client.HTTPException("a partial answer without a Content-Range")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _is_web_page(kind: str, beginning: bytes) -> bool:
    return kind.lower().startswith("text/html") or beginning.lstrip()[:14].lower().startswith(
        (b"<!doctype html", b"<html")
    )


def _check(target: str, url: str) -> None:
    parts = urlsplit(target)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")):
        return
    raise WeightsError(
        f"{url} is not fetched over {target}: weights come over HTTPS only, put an https address in the manifest."
    )


class _OnlyHTTPS(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        _check(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
