"""What a page is made of: exact numbers from a predictor whose maps are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import Tone, make_clip, read_number
from fakes import SIZE, fake, sees, video_facts

from saliency_cli.media import open_source
from saliency_cli.render import frame_statistics, normalise, resize
from saliency_cli.reporting import collect as collecting
from saliency_cli.reporting.collect import Report, collect
from saliency_cli.reporting.measures import concentration
from saliency_cli.reporting.options import ReportOptions


def collected(source: Path, folder: Path, **options: object) -> Report:
    folder.mkdir()
    with open_source(source, decoder="pyav") as reader:
        return collect(reader, fake(delay=3), ReportOptions(**options), folder)  # type: ignore[arg-type]


def test_numbers_pictures_and_maps_belong_together(tmp_path: Path) -> None:
    times = [Fraction(n * n, 100) + Fraction(3, 2) for n in range(10)]
    clip = make_clip(tmp_path / "clip.mp4", frames=10, size=(160, 120), times=times, rate=10)
    report = collected(clip, tmp_path / "kept")
    assert report.size == (160, 120)
    np.testing.assert_allclose(report.seconds, [n * n / 100 for n in range(10)], atol=2e-5)
    statistics = [frame_statistics(sees(n)) for n in range(10)]
    expected = [concentration(each.entropy, SIZE[0] * SIZE[1]) for each in statistics]
    np.testing.assert_allclose(report.concentration, expected, rtol=1e-5)
    np.testing.assert_allclose(report.peak, [((n % 8 + 0.5) / 8, (n % 6 + 0.5) / 6) for n in range(10)])
    np.testing.assert_allclose(report.centroid, [each.centroid for each in statistics], rtol=1e-5)
    assert report.summary.frames == 10
    assert report.summary.duration == pytest.approx(report.end)
    # The embedded video begins at 0, and has the source's frames at the source's times
    facts = video_facts(report.video)
    np.testing.assert_allclose([float(each) for each in facts.times], report.seconds, atol=1e-9)
    with open_source(report.video) as embedded:
        assert [read_number(frame.pixels) for frame in embedded] == list(range(10))
    width, height = report.sheets.tile
    for number in range(10):
        due = resize(normalise(sees(number)), width, height)
        assert np.abs(report.sheets.map(number) - due).max() < 0.08


def test_sound_begins_with_the_picture(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=10, start=2, sound=Tone(seconds=1.4, start=1.0))
    report = collected(clip, tmp_path / "kept")
    assert report.sound
    facts = video_facts(report.video)
    assert facts.times[0] == 0
    assert facts.audio == "aac"
    assert facts.sound_start is not None
    assert abs(facts.sound_start) < Fraction(1, 40)


def test_a_picture_is_made_smaller_and_its_pixels_square(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=3, size=(320, 240), pixel_aspect=Fraction(4, 3))
    report = collected(clip, tmp_path / "kept", size=128)
    assert report.size == (128, 72)
    assert video_facts(report.video).size == (128, 72)
    assert report.sheets.tile == (96, 56)


def scenes(folder: Path) -> Path:
    """Frames of two scenes: the second begins at frame 12."""
    folder.mkdir()
    ramp = np.tile(np.linspace(120, 250, 160, dtype=np.uint8), (120, 1))
    stripes = np.where(np.arange(120)[:, None] // 10 % 2, 90, 10).astype(np.uint8).repeat(160, axis=1)
    for number in range(20):
        picture = np.roll(ramp, number, axis=0) if number < 12 else stripes
        cv2.imwrite(str(folder / f"{number:04d}.png"), picture)
    return folder


def test_cuts_and_key_frames(tmp_path: Path) -> None:
    report = collected(scenes(tmp_path / "scenes"), tmp_path / "kept")  # 30 frames a second
    assert report.cuts == (pytest.approx(12 / 30),)
    assert report.summary.shots == 2
    assert [key.frame for key in report.key_frames] == [6, 16]
    assert [key.seconds for key in report.key_frames] == pytest.approx([6 / 30, 16 / 30])
    picture = cv2.imdecode(np.frombuffer(report.key_frames[0].picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (120, 160, 3)
    spread = picture.max(axis=2).astype(int) - picture.min(axis=2)
    row, column = np.unravel_index(int(cv2.blur(spread.astype(np.float32), (15, 15)).argmax()), spread.shape)
    assert spread.max() > 60  # colour lies over the gray picture,
    assert (row * 6 // 120, column * 8 // 160) == (0, 6)  # where frame 6 has its attention


def test_a_long_film_is_thinned_with_its_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MOST_FRAMES", 8)
    clip = make_clip(tmp_path / "clip.mp4", frames=20, size=(160, 120))
    report = collected(clip, tmp_path / "kept")
    assert (report.step, len(report.seconds), report.summary.frames) == (3, 7, 20)
    np.testing.assert_allclose(report.seconds, [n / 25 for n in range(0, 20, 3)])
    assert report.end == pytest.approx(20 / 25)
    with open_source(report.video) as embedded:
        assert [read_number(frame.pixels) for frame in embedded] == list(range(0, 20, 3))
    assert report.sheets.tile == (64, 48)
    np.testing.assert_allclose(report.peak[:, 0], [(n % 8 + 0.5) / 8 for n in range(0, 20, 3)])


@pytest.mark.parametrize(("end", "step"), [(None, 3), (0.5, 2)])
def test_a_long_film_that_is_damaged_is_thinned_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: float | None, step: int
) -> None:
    """Its reader does not say how many frames will come."""
    monkeypatch.setattr(collecting, "MOST_FRAMES", 8)
    path = make_clip(tmp_path / "clip.mp4", frames=40, size=(160, 90), faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (tmp_path / "kept").mkdir()
    with open_source(path, end=end) as reader:
        assert reader.expected is None
        report = collect(reader, fake(), ReportOptions(end=end), tmp_path / "kept")
    assert report.step == step
    assert 1 < len(report.seconds) <= 8


def test_a_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((40, 60, 3), 90, np.uint8))
    report = collected(tmp_path / "photo.png", tmp_path / "kept")
    assert len(report.seconds) == len(report.key_frames) == 1
    assert not report.sound
