"""The source's sound, handed on to a product packet by packet as its picture advances."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, Self

import av
import av.audio.resampler
import av.audio.stream
import av.container

__all__ = ["SoundCopy"]

# What a container takes as it is, and players of such files can play; Matroska takes what FFmpeg
# has a name for in it.
COPIED: Final = {
    "mp4": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"},
}
AAC_RATES: Final = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
AAC_FRAME = 1024  # samples


class SoundCopy:
    """Copies one sound stream, or encodes it as AAC where the container does not take its codec.

    Times are counted in samples: a coarse clock of the source's (AVI counts packets) is made fine.
    """

    def __init__(
        self,
        source: av.container.InputContainer,
        stream: av.audio.stream.AudioStream,
        container: av.container.OutputContainer,
        *,
        copy: bool,
        notes: list[str],
    ) -> None:
        self._source, self._container, self._notes = source, container, notes
        self._packets = self._demux(stream)
        self._waiting: av.Packet[av.audio.stream.AudioStream] | None = None
        self._from: Fraction | None = None
        self._shift = Fraction(0)
        self._resampler: av.audio.resampler.AudioResampler | None = None
        context = stream.codec_context
        self._clock = _SampleClock(context.sample_rate)
        if copy:
            self._stream = container.add_stream_from_template(stream)
            return
        rate = context.sample_rate if context.sample_rate in AAC_RATES else 48000
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        new = container.add_stream("aac", rate=rate)
        assert isinstance(new, av.audio.stream.AudioStream)
        new.codec_context.layout = layout
        self._stream = new
        self._resampler = av.audio.resampler.AudioResampler("fltp", layout, rate, frame_size=AAC_FRAME)

    @classmethod
    def open(cls, path: Path, container: av.container.OutputContainer, kind: str, notes: list[str]) -> Self | None:
        """The sound of ``path`` as a stream of ``container``, or None if it has none that can be read."""
        try:
            source = av.open(f"file:{path}")
        except (OSError, av.FFmpegError) as error:
            notes.append(f"{path}: its sound cannot be read ({error.strerror}), and is left out.")
            return None
        stream = source.streams.best("audio")
        if not isinstance(stream, av.audio.stream.AudioStream):
            source.close()
            return None
        if getattr(stream, "codec_context", None) is None or not stream.codec_context.sample_rate:
            notes.append(f"{path.name}: its sound is of a kind that no decoder here knows, and is left out.")
            source.close()
            return None
        streams = source.streams.audio
        if len(streams) > 1:
            number = streams.index(stream) + 1
            which = "the first" if number == 1 else f"number {number}"
            notes.append(f"{path.name}: of its {len(streams)} sound streams only {which} was kept.")
        codec = stream.codec_context.codec.canonical_name  # the name alone is the decoder's: "mp3float" for "mp3"
        if kind == "matroska":  # whose list has the names of encoders and decoders: "dca" for "dts"
            copy = not container.supported_codecs.isdisjoint({codec, stream.codec_context.name})
        else:
            copy = codec in COPIED[kind]
        if not copy:
            notes.append(f"{path.name}: its sound ({codec}) does not fit into this container and was encoded as AAC.")
        return cls(source, stream, container, copy=copy, notes=notes)

    def begin(self, first: Fraction | None, *, shift: Fraction) -> None:
        """Leave out what begins before ``first`` seconds, if given, and take ``shift`` seconds off every time."""
        self._from, self._shift = first, shift

    def advance(self, until: Fraction) -> None:
        """Hand on what begins before ``until`` seconds on the source's clock."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or packet.pts is None:
                return
            begins = packet.pts * packet.time_base
            if begins >= until:
                return
            self._waiting = None
            if self._from is None or begins >= self._from:
                self._hand_on(packet)

    def finish(self, end: Fraction) -> None:
        """Hand on what begins before ``end`` seconds, and no more."""
        self.advance(end)
        if self._resampler is not None:
            self._encode([*self._resampler.resample(None), None])
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._packets.close()
        self._source.close()

    def _demux(
        self, stream: av.audio.stream.AudioStream
    ) -> Generator[av.Packet[av.audio.stream.AudioStream], None, None]:
        try:
            for packet in self._source.demux(stream):
                if packet.pts is not None and packet.size:
                    yield packet
        except (OSError, av.FFmpegError) as error:
            # A damaged source: its sound ends here, and its frames as far as they can be read are worth keeping.
            self._notes.append(f"The sound breaks off where the source is damaged ({error.strerror}).")

    def _hand_on(self, packet: av.Packet[av.audio.stream.AudioStream]) -> None:
        if self._resampler is None:
            assert packet.pts is not None  # _demux passes no others on
            tick, rate = packet.time_base, self._clock.rate
            samples = round((packet.duration or 0) * tick * rate)
            at = self._clock.time_of(packet.pts * tick - self._shift, tick, samples)
            packet.pts, packet.dts, packet.duration = at, at, samples
            packet.time_base = Fraction(1, rate)
            packet.stream = self._stream
            self._container.mux(packet)
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return  # one damaged packet: a gap of milliseconds
        for frame in frames:
            tick = frame.time_base or packet.time_base
            seconds = None if frame.pts is None else frame.pts * tick - self._shift
            self._clock.rate = frame.sample_rate
            frame.pts = self._clock.time_of(seconds, tick, frame.samples, overlap=False)
            frame.time_base = Fraction(1, frame.sample_rate)
            self._encode(self._resampler.resample(frame))

    def _encode(self, frames: Sequence[av.AudioFrame | None]) -> None:
        for frame in frames:
            self._container.mux(self._stream.encode(frame))


class _SampleClock:
    """Times in samples for what comes with times of a clock that may be coarser than that.

    A piece follows the one before where the source's clock cannot tell the difference; gaps and late starts stay.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._last: int | None = None
        self._next = 0

    def time_of(self, seconds: Fraction | None, tick: Fraction, samples: int, *, overlap: bool = True) -> int:
        """When a piece of ``samples`` begins that comes at ``seconds``, known to one ``tick``, both in seconds.

        Times grow strictly. Without ``overlap``, no piece begins before the one before has ended.
        """
        if seconds is None or (self._last is not None and abs(seconds * self.rate - self._next) < tick * self.rate):
            at = self._next
        else:
            at = round(seconds * self.rate)
        if self._last is not None:
            at = max(at, self._last + 1 if overlap else self._next)
        self._last, self._next = at, at + samples
        return at
