"""Where a product's sound comes from: a file that is opened for it, or a stream that somebody else demuxes."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Protocol, cast

import av
from av.container import InputContainer

from saliency_cli.media.sound_feed import AudioPacket, SoundFeed
from saliency_cli.media.stdin import STDIN_NAME

__all__ = ["SoundTrack", "open_track"]


class SoundTrack(Protocol):
    """One sound stream. ``which`` is its number, from 1, of ``streams``."""

    name: str
    stream: av.AudioStream
    which: int
    streams: int

    def next(self) -> AudioPacket | None:
        """The next packet; None if there is none, or none yet."""

    def decode(self, packet: AudioPacket) -> list[av.AudioFrame]:
        """Its frames. Raises av.FFmpegError."""

    def close(self) -> None:
        """Let go of where it comes from; harmless when repeated."""


def open_track(sound: Path | SoundFeed, notes: list[str]) -> SoundTrack | None:
    """The sound of a file or of a stream, None if it has none that can be read; ``notes`` says why."""
    if isinstance(sound, SoundFeed):
        return _FedTrack(sound)
    try:
        container = av.open(f"file:{sound}", metadata_errors="replace")
    except (OSError, av.FFmpegError) as error:
        notes.append(f"{sound}: its sound cannot be read ({error.strerror}), and is left out.")
        return None
    stream = container.streams.best("audio")
    if isinstance(stream, av.AudioStream):
        return _FileTrack(sound.name, container, stream, notes)
    container.close()
    return None


class _FileTrack:
    def __init__(self, name: str, container: InputContainer, stream: av.AudioStream, notes: list[str]) -> None:
        self.name, self.stream, self._container, self._notes = name, stream, container, notes
        self.which, self.streams = container.streams.audio.index(stream) + 1, len(container.streams.audio)
        self._packets = self._demux()

    def next(self) -> AudioPacket | None:
        return next(self._packets, None)

    def decode(self, packet: AudioPacket) -> list[av.AudioFrame]:
        return packet.decode()

    def close(self) -> None:
        self._packets.close()
        self._container.close()

    def _demux(self) -> Generator[AudioPacket, None, None]:
        try:
            for packet in self._container.demux(self.stream):
                if packet.pts is not None and packet.size:
                    yield packet
        except (OSError, av.FFmpegError) as error:
            # A damaged source: its sound ends here, and its frames as far as they can be read are worth keeping.
            self._notes.append(f"The sound breaks off where the source is damaged ({error.strerror}).")


class _FedTrack:
    def __init__(self, feed: SoundFeed) -> None:
        self.name, self.stream, self.which, self.streams = STDIN_NAME, feed.stream, feed.which, feed.streams
        self._feed, self._queue = feed, feed.subscribe()
        self._decoder: av.AudioCodecContext | None = None

    def next(self) -> AudioPacket | None:
        return self._queue.popleft().packet() if self._queue else None

    def decode(self, packet: AudioPacket) -> list[av.AudioFrame]:
        if self._decoder is None:  # the stream's own would be shared by all products
            given = self.stream.codec_context
            decoder = cast(av.AudioCodecContext, av.CodecContext.create(given.codec.name, "r"))
            decoder.sample_rate, decoder.layout = given.sample_rate, given.layout
            if given.extradata is not None:
                decoder.extradata = given.extradata
            self._decoder = decoder
        return self._decoder.decode(packet)

    def close(self) -> None:
        self._feed.leave(self._queue)
