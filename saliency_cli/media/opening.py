"""Opening a media file, or saying in one sentence why it cannot be opened."""

from __future__ import annotations

import stat
from pathlib import Path

import av
from av.container import InputContainer

from saliency_cli.errors import ReadError
from saliency_cli.media.dimensions import DECODER_LIMITS, check_declared_size

__all__ = ["open_container", "require_file"]

# Formats that show text as pictures, or that are lists of other files
NOT_VIDEO = frozenset({"tty", "bin", "xbin", "adf", "idf", "concat", "hls", "dash", "imf", "lavfi"})


def require_file(path: Path) -> None:
    """Raise ReadError unless ``path`` is a regular file that has content and may be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ReadError(f"{path} is not a regular file; name a video, an image, or a folder of frames.")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise ReadError(f"{path} does not exist; check the spelling and the folder.") from None
    except PermissionError:
        raise ReadError(f"{path} may not be read by this user; change its permissions.") from None
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); check the file system.") from None
    if status.st_size == 0:
        raise ReadError(f"{path} is empty; copy or record it again.")


def open_container(path: Path) -> InputContainer:
    """Open a media file, local ones only, or say in one sentence why it cannot be opened."""
    require_file(path)
    check_declared_size(path)
    try:
        options = {"protocol_whitelist": "file", **DECODER_LIMITS}
        # Absolute, so that a colon in the name is not taken for a protocol; and no playlist leads to the network
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise ReadError(f"{path} {_why_not(path, error)}.") from None
    if NOT_VIDEO & set(container.format.name.split(",")):
        name = container.format.name
        container.close()
        raise ReadError(f"{path} is no video but text or a list of files ({name}); give the video itself.")
    return container


def _why_not(path: Path, error: av.FFmpegError) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] == b"ftyp" and not _has_box(path, b"moov"):
        return "has lost its index (moov), as an interrupted recording or copy does; copy it again or repair it"
    text = bytes(range(32, 127)) + b"\t\n\r\f"
    if not head.translate(None, text) or _is_utf8_text(head):
        return "is a text file, not a video; give the video itself"
    return f"is no media file that can be opened ({error.strerror}); it is damaged or of an unknown format"


def _is_utf8_text(head: bytes) -> bool:
    try:
        text = head[: len(head) - 3].decode() if len(head) == 4096 else head.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def _has_box(path: Path, kind: bytes) -> bool:
    """Whether an mp4 file has a box of a kind at its top level, whole or not."""
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            header = file.read(16)
            if header[4:8] == kind:
                return True
            length = int.from_bytes(header[:4], "big")
            length = int.from_bytes(header[8:16], "big") if length == 1 else length or size
            if length < 8:
                return False
            offset += length
    return False
