"""The sound of a video as the audio networks take it: mono, 22,050 Hz, in step with the frames' timestamps.

The window is that of TSFP-Net's audio branch (Chang and Zhu, 2021, after STAViS): the samples heard during the clip's
frames, times a Hann window, centred in zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.media.opening import open_container, require_file

__all__ = ["SOUND_RATE", "WINDOW_SAMPLES", "Sound", "read_sound", "sound_window"]

SOUND_RATE = 22_050  # samples per second
WINDOW_SAMPLES = 70_560  # 3.2 s: 32 frames at 10 frames per second
SCALE = 256.0  # what SoundNet was trained with
SOUNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
# Timestamps of 1 ms ticks jitter; only a larger step is a gap or an overlap. Nothing accumulates.
JITTER_SECONDS = 0.005
MAX_SECONDS = 24 * 3600
MAX_GAP_SECONDS = 3600  # is filled with silence; a longer one is a clock that went wrong
BLOCK = 1 << 20  # samples read at a time

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A mono waveform. ``samples``: float32 (n,) in [-1, 1]; sample i sounds at ``start + i / rate`` seconds on the
    container's clock."""

    samples: Samples
    rate: int
    start: float

    def __repr__(self) -> str:
        return f"Sound({len(self.samples) / self.rate:.3f} s from {self.start:.3f} s, {self.rate} Hz)"


def read_sound(path: str | Path, *, rate: int = SOUND_RATE) -> Sound | None:
    """Read the sound of a video or of a sound file, mono, at ``rate``; None if the file has no audio stream.

    Raises ReadError if the file cannot be read at all, or if it has sound of which nothing decodes.
    """
    path = Path(path)
    if path.is_dir():
        return None
    sound = _read_sound_file(path) if path.suffix.lower() in SOUNDFILE_SUFFIXES else _read_container(path)
    if sound is None or sound.rate == rate:
        return sound
    import librosa  # here, because its first import costs seconds

    samples = librosa.resample(sound.samples, orig_sr=sound.rate, target_sr=rate, res_type="soxr_hq")
    return Sound(np.clip(samples, -1, 1).astype(np.float32), rate, sound.start)


def _read_sound_file(path: Path) -> Sound:
    require_file(path)
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            # In blocks, as a damaged header may announce more than there is, or than memory holds
            rate, blocks, length = file.samplerate, [], 0
            while length <= MAX_SECONDS * rate:
                block = file.read(BLOCK, dtype="float32", always_2d=True)  # (n, channels)
                if not len(block):
                    break
                blocks.append(block.mean(axis=1))
                length += len(block)
    except soundfile.LibsndfileError as error:
        cause = str(error.error_string).rstrip(".")
        raise ReadError(f"{path} is no sound file that can be decoded ({cause}); it is damaged.") from None
    if not blocks:
        raise ReadError(f"{path} holds no sound; record or copy it again.")
    return Sound(np.clip(np.concatenate(blocks), -1, 1).astype(np.float32), int(rate), 0.0)


def _read_container(path: Path) -> Sound | None:
    with open_container(path) as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            return None
        if getattr(stream, "codec_context", None) is None:
            raise ReadError(
                f"{path} has sound that no decoder here knows; convert it to AAC, or go on without --audio."
            )
        pieces, rate, begin, length = [], 0, Fraction(0), 0
        for frame in _audio_frames(container, stream):
            samples = _mono(frame)
            seconds = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            if not rate:
                rate, begin = frame.sample_rate, seconds or Fraction(0)
            if frame.sample_rate != rate:
                raise ReadError(f"{path} changes its sampling rate on the way; convert its sound to one rate.")
            if seconds is not None:
                ahead = round((seconds - begin) * rate) - length
                if length + ahead > MAX_SECONDS * rate or ahead > MAX_GAP_SECONDS * rate:
                    raise ReadError(f"{path} has sound with a gap of hours in its timestamps; remux it first.")
                if ahead > JITTER_SECONDS * rate:
                    pieces.append(np.zeros(ahead, dtype=np.float32))
                    length += ahead
                elif ahead < -JITTER_SECONDS * rate:
                    samples = samples[-ahead:]  # heard already
            pieces.append(samples)
            length += len(samples)
    if not length:
        raise ReadError(f"{path} has an audio stream of which nothing decodes; go on without --audio.")
    return Sound(np.clip(np.concatenate(pieces), -1, 1), rate, float(begin))


def _audio_frames(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Frames that decode; what is lost between them shows as a gap in their timestamps."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from frames


def _mono(frame: av.AudioFrame) -> Samples:
    """The mean of the channels, float32 (n,), whatever the sample format."""
    samples: NDArray[Any] = frame.to_ndarray()  # planar: (channels, n); packed: (1, n * channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    mean = np.asarray(samples.mean(axis=0, dtype=np.float64))
    if samples.dtype == np.uint8:
        mean = (mean - 128) / 128
    elif samples.dtype.kind == "i":
        mean = mean / 2 ** (8 * samples.dtype.itemsize - 1)
    return mean.astype(np.float32)


def sound_window(
    sound: Sound,
    times: Sequence[float],
    frame_seconds: float,
    *,
    samples: int = WINDOW_SAMPLES,
    reverse: bool = False,
) -> Samples:
    """The sound that goes with a clip of frames: float32 (samples,), scaled to [-256, 256].

    ``times`` are the frames' presentation times in seconds, on the sound's clock and in any order, ``frame_seconds``
    the time each is shown. Taken are the samples from half a frame before the earliest to half a frame after the
    latest (silence where the sound has none), times a Hann window, centred in zeros; of a longer stretch the middle
    is taken. ``reverse`` turns it round, for windows whose frames run backwards.
    """
    if not len(times):
        raise ValueError("a sound window needs at least one frame's time")
    first = round((min(times) - frame_seconds / 2 - sound.start) * sound.rate)
    last = round((max(times) + frame_seconds / 2 - sound.start) * sound.rate)
    surplus = last - first - samples
    if surplus > 0:
        first += surplus // 2
        last = first + samples
    stretch = np.zeros(last - first, dtype=np.float32)
    inside = sound.samples[max(first, 0) : max(last, 0)]
    offset = max(-first, 0)
    stretch[offset : offset + len(inside)] = inside
    stretch *= np.hanning(len(stretch)).astype(np.float32) * np.float32(SCALE)
    window = np.zeros(samples, dtype=np.float32)
    left = (samples - len(stretch)) // 2
    window[left : left + len(stretch)] = stretch
    return np.ascontiguousarray(window[::-1]) if reverse else window
