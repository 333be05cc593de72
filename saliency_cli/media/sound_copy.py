"""The source's sound, handed on to a product packet by packet as its picture advances."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, Self

import av
import av.audio.resampler
import av.audio.stream
import av.container

from saliency_cli.media.sound_feed import AudioPacket, SoundFeed
from saliency_cli.media.sound_tracks import SoundTrack, open_track
from saliency_cli.types import VideoInfo

__all__ = ["SoundCopy"]

# What a container takes as it is, and players of such files can play; Matroska and NUT take what FFmpeg
# has a name for in them.
COPIED: Final = {
    "mp4": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"},
}
AAC_RATES: Final = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
FRAME = 1024  # samples: what AAC takes at a time
# The encoder and its samples, where copying is not possible: in NUT, which is made to be read on, nothing is lost
ENCODED: Final = {"nut": ("pcm_s16le", "s16")}
AAC: Final = ("aac", "fltp")


class SoundCopy:
    """Copies one sound stream, or encodes it where the container does not take its codec.

    Times are counted in samples: a coarse clock of the source's (AVI counts packets) is made fine.
    """

    def __init__(
        self,
        track: SoundTrack,
        container: av.container.OutputContainer,
        notes: list[str],
        *,
        encoder: tuple[str, str] | None,
    ) -> None:
        """``encoder``: its name, and the samples that it takes; None to copy. ``notes`` is told what gets lost."""
        self._track, self._container, self._notes = track, container, notes
        self._lost = self._decoded = 0  # packets, where they are decoded
        self._waiting: AudioPacket | None = None
        self._from: Fraction | None = None
        self._shift = Fraction(0)
        self._resampler: av.audio.resampler.AudioResampler | None = None
        context = track.stream.codec_context
        self._clock = _SampleClock(context.sample_rate)
        if encoder is None:
            self._stream = container.add_stream_from_template(track.stream)
            return
        codec, samples = encoder
        rate = context.sample_rate if context.sample_rate in AAC_RATES else 48000
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        new = container.add_stream(codec, rate=rate)
        assert isinstance(new, av.audio.stream.AudioStream)
        new.codec_context.layout = layout
        self._stream = new
        self._resampler = av.audio.resampler.AudioResampler(samples, layout, rate, frame_size=FRAME)

    @classmethod
    def open(
        cls, sound: Path | SoundFeed, container: av.container.OutputContainer, kind: str, notes: list[str]
    ) -> Self | None:
        """The sound of a file or a stream as a stream of ``container``; None if there is none that can be read."""
        track = open_track(sound, notes)
        if track is None:
            return None
        name, stream = track.name, track.stream
        if getattr(stream, "codec_context", None) is None or not stream.codec_context.sample_rate:
            notes.append(f"{name}: its sound is of a kind that no decoder here knows, and is left out.")
            track.close()
            return None
        if track.streams > 1:
            which = "the first" if track.which == 1 else f"number {track.which}"
            notes.append(f"{name}: of its {track.streams} sound streams only {which} was kept.")
        codec = stream.codec_context.codec.canonical_name  # the name alone is the decoder's: "mp3float" for "mp3"
        if kind in COPIED:
            copy = codec in COPIED[kind]
        else:  # lists that have the names of encoders and decoders: "dca" for "dts"
            copy = not container.supported_codecs.isdisjoint({codec, stream.codec_context.name})
        if copy:
            return cls(track, container, notes, encoder=None)
        encoder = ENCODED.get(kind, AAC)
        new = {"aac": "AAC", "pcm_s16le": "PCM"}[encoder[0]]
        notes.append(f"{name}: its sound ({codec}) does not fit into this container and was encoded as {new}.")
        return cls(track, container, notes, encoder=encoder)

    def begin(self, first: Fraction | None, *, shift: Fraction) -> None:
        """Leave out what begins before ``first`` seconds, if given, and take ``shift`` seconds off every time."""
        self._from, self._shift = first, shift

    def begin_with(self, info: VideoInfo, pts: int, *, shift: int, negative: bool = True) -> None:
        """Begin with the frame shown at ``pts``; both in units of the time base of the source.

        Without ``negative``, what would come before 0, such as an encoder's run-in, is left out.
        """
        cut = pts != round(info.start / info.time_base)
        first = pts * info.time_base if cut else None
        if not negative:
            first = max(first or Fraction(0), shift * info.time_base)
        self.begin(first, shift=shift * info.time_base)

    def advance(self, until: Fraction) -> None:
        """Hand on what begins before ``until`` seconds on the source's clock."""
        while True:
            packet = self._waiting or self._track.next()
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
        if self._lost and not self._decoded:
            self._notes.append(f"{self._track.name}: its sound cannot be decoded, and is missing.")
        self.close()

    def close(self) -> None:
        """Let go of where the sound comes from."""
        self._track.close()

    def _hand_on(self, packet: AudioPacket) -> None:
        if self._resampler is None:
            assert packet.pts is not None  # tracks have no others
            tick, rate = packet.time_base, self._clock.rate
            samples = round((packet.duration or 0) * tick * rate)
            at = self._clock.time_of(packet.pts * tick - self._shift, tick, samples)
            packet.pts, packet.dts, packet.duration = at, at, samples
            packet.time_base = Fraction(1, rate)
            packet.stream = self._stream
            self._container.mux(packet)
            return
        try:
            frames = self._track.decode(packet)
        except av.FFmpegError:
            self._lost += 1
            return  # one damaged packet: a gap of milliseconds
        self._decoded += 1
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
