"""Sound: in step with its timestamps, and cut into the windows of the audio network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import Tone, make_clip, make_sound, overwrite
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.errors import ReadError
from saliency_cli.media import Sound, read_sound, sound_window


def onset(sound: Sound) -> float:
    """When the sound begins, in seconds on the container's clock."""
    return int(np.argmax(np.abs(sound.samples) > 0.05)) / sound.rate + sound.start


def loudness(sound: Sound, begin: float, end: float) -> float:
    first, last = (round((time - sound.start) * sound.rate) for time in (begin, end))
    return float(np.sqrt(np.mean(np.square(sound.samples[first:last]))))


@pytest.mark.parametrize(
    ("name", "tone"),
    [
        ("clip.mp4", Tone(seconds=0.5, start=0.0)),
        ("clip.mp4", Tone(seconds=0.5, start=0.3)),
        ("clip.mkv", Tone(seconds=0.5, start=0.3, codec="libopus", rate=48000)),
        ("clip.mkv", Tone(seconds=0.5, start=0.2, codec="pcm_s16le", channels=2)),
        ("clip.ts", Tone(seconds=0.5, start=0.3)),
    ],
)
def test_sound_of_a_video_keeps_its_time(tmp_path: Path, name: str, tone: Tone) -> None:
    sound = read_sound(make_clip(tmp_path / name, sound=tone), rate=tone.rate)
    assert sound is not None
    assert sound.samples.dtype == np.float32
    assert sound.samples.ndim == 1
    # MPEG-TS moves the whole clock: its first frame, made at 0, says by how much
    shift = 0.08 if name.endswith("ts") else 0.0
    assert onset(sound) == pytest.approx(tone.start + shift, abs=0.012)
    assert loudness(sound, tone.start + shift + 0.1, tone.start + shift + 0.4) == pytest.approx(
        0.5 / np.sqrt(2), rel=0.05
    )


def test_video_that_starts_late(tmp_path: Path) -> None:
    sound = read_sound(make_clip(tmp_path / "clip.mp4", start=0.5, sound=Tone(seconds=1.0)), rate=44100)
    assert sound is not None
    assert sound.start == pytest.approx(0, abs=1e-3)
    assert onset(sound) == pytest.approx(0, abs=1e-3)


def test_resampling_keeps_pitch_and_length(tmp_path: Path) -> None:
    sound = read_sound(make_sound(tmp_path / "tone.wav", Tone(seconds=1.0, frequency=1000, codec="pcm_s16le")))
    assert sound is not None
    assert sound.rate == 22050
    assert len(sound.samples) == 22050
    assert int(np.argmax(np.abs(np.fft.rfft(sound.samples)))) == 1000  # bins of 1 Hz
    assert np.abs(sound.samples).max() <= 1


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("m4a", "aac")]
)
def test_sound_files(tmp_path: Path, suffix: str, codec: str) -> None:
    path = make_sound(tmp_path / f"Ton ä.{suffix}", Tone(seconds=0.5, codec=codec, channels=2))
    sound = read_sound(path, rate=44100)
    assert sound is not None
    assert sound.start == pytest.approx(0, abs=0.03)
    assert loudness(sound, 0.1, 0.4) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_gap_is_filled_with_silence(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", frames=30, sound=Tone(seconds=1.0, codec="pcm_s16le", gap=(0.4, 0.7)))
    sound = read_sound(path, rate=44100)
    assert sound is not None
    assert len(sound.samples) == pytest.approx(44100, abs=100)
    assert loudness(sound, 0.45, 0.65) == 0
    assert loudness(sound, 0.1, 0.35) > 0.3
    assert loudness(sound, 0.75, 0.95) > 0.3


def test_no_sound(tmp_path: Path) -> None:
    assert read_sound(make_clip(tmp_path / "clip.mp4", frames=2)) is None
    assert read_sound(tmp_path) is None


def test_bad_sound_files(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        read_sound(tmp_path / "nothing.wav")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ReadError, match="no sound file"):
        read_sound(tmp_path / "text.wav")
    (tmp_path / "text.mp4").write_text("no sound")
    with pytest.raises(ReadError, match="text file"):
        read_sound(tmp_path / "text.mp4")


def test_a_header_that_announces_more_than_memory_holds(tmp_path: Path) -> None:
    """FLAC's STREAMINFO counts samples with 36 bits, in bytes 21 to 25 of the file."""
    path = make_sound(tmp_path / "sound.flac", Tone(seconds=0.2, codec="flac"))
    content = bytearray(path.read_bytes())
    content[21], content[22:26] = content[21] | 0x0F, b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(ReadError, match="it is damaged"):  # and no MemoryError
        read_sound(path)


def test_a_clock_that_jumps_by_hours_is_refused(tmp_path: Path) -> None:
    """Instead of filling memory with silence."""
    path = make_clip(tmp_path / "clip.ts", sound=Tone(seconds=0.5, codec="mp2"))
    later = make_clip(tmp_path / "later.ts", sound=Tone(seconds=0.5, start=5000, codec="mp2"), start=5000)
    path.write_bytes(path.read_bytes() + later.read_bytes())
    with pytest.raises(ReadError, match="gap of hours"):
        read_sound(path)


def test_damaged_sound_keeps_its_time(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", frames=2, sound=Tone(seconds=1.0, codec="flac"))
    size = path.stat().st_size
    overwrite(path, range(size // 2, size // 2 + 300))
    sound = read_sound(path, rate=44100)
    assert sound is not None
    assert len(sound.samples) == pytest.approx(44100, rel=0.05)


RATE = 22050


def test_window_is_the_hann_weighted_stretch() -> None:
    sound = Sound(np.ones(RATE * 4, dtype=np.float32), RATE, 0.0)
    window = sound_window(sound, [1 + index / 25 for index in range(32)], 1 / 25)
    length = round(32 / 25 * RATE)
    left = (70560 - length) // 2
    assert window.shape == (70560,)
    assert window.dtype == np.float32
    assert not window[:left].any()
    assert not window[left + length :].any()
    assert window[left : left + length] == pytest.approx(256 * np.hanning(length), abs=1e-3)


def test_window_takes_the_right_samples() -> None:
    ramp = np.linspace(0, 1, RATE * 4, dtype=np.float32)
    window = sound_window(Sound(ramp, RATE, 10.0), [11.0, 11.1, 11.2], 0.1, samples=8000)
    first, length = round(0.95 * RATE), round(0.3 * RATE)
    left = (8000 - length) // 2
    expected = ramp[first : first + length] * np.hanning(length) * 256
    assert window[left : left + length] == pytest.approx(expected, abs=1e-2)


def test_reversed_window_is_the_mirror_image() -> None:
    rng = np.random.default_rng(0)
    sound = Sound(rng.uniform(-1, 1, RATE).astype(np.float32), RATE, 0.0)
    times = [0.1, 0.2, 0.3]
    forwards = sound_window(sound, times, 0.1)
    assert np.array_equal(sound_window(sound, times[::-1], 0.1, reverse=True), forwards[::-1])
    assert forwards.any()


def test_long_window_is_cropped_to_its_middle() -> None:
    ramp = np.linspace(0, 1, RATE * 8, dtype=np.float32)
    window = sound_window(Sound(ramp, RATE, 0.0), [0.5 + 0.2 * index for index in range(32)], 0.2)
    middle = round(3.6 * RATE)  # from 0.4 s to 6.8 s
    assert window == pytest.approx(ramp[middle - 35280 : middle + 35280] * np.hanning(70560) * 256, abs=0.05)


def test_silence_outside_the_sound() -> None:
    sound = Sound(np.ones(RATE, dtype=np.float32), RATE, 5.0)
    assert not sound_window(sound, [1.0, 2.0], 0.1).any()
    assert not sound_window(sound, [8.0, 9.0], 0.1).any()
    window = sound_window(sound, [4.5, 5.5], 0.1, samples=30000)
    sounding = np.flatnonzero(window)
    assert sounding[0] == pytest.approx(15000, abs=700)  # silence before 5.0 s, the middle of the window
    with pytest.raises(ValueError, match="at least one"):
        sound_window(sound, [], 0.1)


@given(
    begin=st.floats(-5, 5),
    step=st.floats(0.001, 0.5),
    count=st.integers(1, 40),
    start=st.floats(-3, 3),
    length=st.integers(0, 5000),
    samples=st.integers(1, 3000),
)
def test_window_has_always_its_size_and_range(
    begin: float, step: float, count: int, start: float, length: int, samples: int
) -> None:
    sound = Sound(np.ones(length, dtype=np.float32), 1000, start)
    window = sound_window(sound, [begin + step * index for index in range(count)], step, samples=samples)
    assert window.shape == (samples,)
    assert np.abs(window).max() <= 256
