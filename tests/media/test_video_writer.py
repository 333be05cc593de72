from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import Tags, Tone, draw_number, make_clip, make_sound, read_number

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media import VideoWriter, open_source, sound_copy, sound_tracks
from saliency_cli.media.sound_copy import _SampleClock
from saliency_cli.types import AudioInfo, ColourInfo, VideoInfo

SIZE = (64, 48)
INFO = VideoInfo(
    path="clip.mp4", kind="video", width=64, height=48, frames=None, rate=Fraction(25), time_base=Fraction(1, 90000),
    start=Fraction(0), codec="h264", audio=AudioInfo("aac", 44100, 1, Fraction(0)),
)  # fmt: skip
TICK = 3600  # a frame's duration in units of INFO.time_base


def write(
    path: Path, times: list[int], *, info: VideoInfo = INFO, source: Path | None = None, end_pts: int | None = None
) -> VideoWriter:
    """Numbered frames at the given times."""
    with VideoWriter(path, info=info, width=64, height=48, source=source, end_pts=end_pts, threads=1) as writer:
        for number, pts in enumerate(times):
            writer.write(draw_number(number, SIZE), pts)
    return writer


def picture(path: Path) -> list[tuple[int | None, float]]:
    """(number, seconds) of every frame of a video."""
    with av.open(str(path)) as container:
        return [
            (read_number(frame.to_ndarray(format="rgb24")), float(frame.pts * frame.time_base))
            for frame in container.decode(video=0)
        ]


def end(path: Path) -> float:
    """When the last frame ends, by its packet."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return float((packets[-1].pts + packets[-1].duration) * packets[-1].time_base)


def packets(path: Path) -> list[tuple[float, bytes]]:
    """(seconds, content) of every sound packet."""
    with av.open(str(path)) as container:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size and packet.pts is not None
        ]


def loud_samples(frame: av.AudioFrame) -> np.ndarray:
    """Where the first channel is to be heard, whatever the sample format."""
    samples = frame.to_ndarray()[0]
    full = np.iinfo(samples.dtype).max if samples.dtype.kind == "i" else 1
    return np.flatnonzero(np.abs(samples.astype(float)) / full > 0.05)


def onset(path: Path) -> float:
    """When the sound begins to be heard."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = loud_samples(frame)
            if loud.size:
                return float(frame.pts * frame.time_base) + loud[0] / frame.sample_rate
    raise AssertionError("silence")


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv"])
@pytest.mark.parametrize(
    "times",
    [
        [i * TICK for i in range(12)],
        [126000 + i * TICK for i in range(12)],  # MPEG-TS starts at 1.4 s
        [7519 + i * TICK for i in range(12)],  # starts between two milliseconds
        [0, 3600, 9000, 9900, 36000, 36090],  # variable rate
    ],
)
def test_times_are_kept(tmp_path: Path, suffix: str, times: list[int]) -> None:
    path = tmp_path / f"o{suffix}"
    info = replace(INFO, start=times[0] * INFO.time_base)
    write(path, times, info=info, end_pts=times[-1] + 18000)
    found = picture(path)
    slack = 0.0006 if suffix == ".mkv" else 1e-9  # Matroska counts milliseconds
    assert [number for number, _ in found] == list(range(len(times)))
    assert [seconds for _, seconds in found] == pytest.approx([pts / 90000 for pts in times], abs=slack)
    if suffix != ".mkv":
        assert end(path) == pytest.approx((times[-1] + 18000) / 90000, abs=1e-9)
    assert list(tmp_path.iterdir()) == [path]


def test_rates_are_fractions(tmp_path: Path) -> None:
    info = replace(INFO, rate=Fraction(30000, 1001), time_base=Fraction(1001, 30000))
    write(tmp_path / "o.mp4", list(range(30)), info=info)
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    assert end(tmp_path / "o.mp4") == pytest.approx(30 * 1001 / 30000, abs=1e-9)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_start_before_zero_moves_picture_and_sound(tmp_path: Path, suffix: str) -> None:
    source = make_sound(tmp_path / "s.mka", Tone(seconds=1, start=0.3, codec="flac", rate=48000))
    info = replace(INFO, start=Fraction(-1, 5))
    write(tmp_path / f"o{suffix}", [-18000 + i * TICK for i in range(20)], info=info, source=source)
    assert picture(tmp_path / f"o{suffix}")[0] == (0, 0.0)
    assert onset(tmp_path / f"o{suffix}") == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("container", [".mp4", ".mkv", ".ts"])
def test_sound_is_copied_and_stays_in_step(tmp_path: Path, suffix: str, container: str) -> None:
    source = make_clip(tmp_path / f"s{container}", frames=25, sound=Tone(seconds=0.7, start=0.25))
    given = picture(source)
    info = replace(INFO, start=Fraction(given[0][1]).limit_denominator(90000))
    path = tmp_path / f"o{suffix}"
    writer = write(path, [round(seconds * 90000) for _, seconds in given], info=info, source=source)
    assert writer.notes == []
    with av.open(str(path)) as opened:
        assert opened.streams.audio[0].codec_context.name == "aac"
    assert [time for _, time in picture(path)] == pytest.approx([time for _, time in given], abs=0.0006)
    assert onset(path) == pytest.approx(onset(source), abs=0.002)
    if container != ".ts":  # whose packets carry headers of their own
        ours, theirs = packets(path), packets(source)
        assert [content for _, content in ours] == [content for _, content in theirs][: len(ours)]
        assert len(ours) >= len(theirs) - 1


def test_sound_ends_with_the_picture(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "s.mp4", frames=50, sound=Tone(seconds=4))
    write(tmp_path / "o.mp4", [i * TICK for i in range(10)], source=source)
    assert packets(tmp_path / "o.mp4")[-1][0] == pytest.approx(0.4, abs=0.025)


def test_a_cut_begins_where_the_source_does(tmp_path: Path) -> None:
    """The first frame is 1.2 s into the source; a tone that begins at 1.5 s is heard at 0.3 s."""
    source = make_clip(tmp_path / "s.mp4", frames=75, sound=Tone(seconds=1, start=1.5))
    write(tmp_path / "o.mp4", [i * TICK for i in range(30, 60)], source=source)
    assert picture(tmp_path / "o.mp4")[0] == (0, 0.0)
    assert onset(tmp_path / "o.mp4") == pytest.approx(0.3, abs=0.005)


def test_sound_that_does_not_fit_is_encoded(tmp_path: Path) -> None:
    source = make_sound(tmp_path / "s.wav", Tone(seconds=1.0, codec="pcm_s16le", rate=32000, channels=2))
    writer = write(tmp_path / "o.mp4", [i * TICK for i in range(20)], source=source)
    assert writer.notes == ["s.wav: its sound (pcm_s16le) does not fit into this container and was encoded as AAC."]
    with av.open(str(tmp_path / "o.mp4")) as container:
        context = container.streams.audio[0].codec_context
        assert (context.name, context.sample_rate, context.layout.nb_channels) == ("aac", 32000, 2)
    assert onset(tmp_path / "o.mp4") == pytest.approx(0, abs=0.005)
    assert packets(tmp_path / "o.mp4")[-1][0] == pytest.approx(0.8, abs=0.05)


def test_sound_that_cannot_be_decoded_is_missing_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise av.InvalidDataError(1, "no")

    monkeypatch.setattr(sound_tracks._FileTrack, "decode", refused)
    source = make_sound(tmp_path / "s.wav", Tone(seconds=0.2, codec="pcm_s16le"))
    writer = write(tmp_path / "o.mp4", [0, TICK], source=source)
    assert writer.notes[1:] == ["s.wav: its sound cannot be decoded, and is missing."]


def sound_end(path: Path) -> float:
    """When the last sample that is heard fades, by what decodes."""
    with av.open(str(path)) as container:
        ends = [
            float(frame.pts * frame.time_base) + (loud[-1] + 1) / frame.sample_rate
            for frame in container.decode(audio=0)
            if (loud := loud_samples(frame)).size
        ]
    return max(ends)


def assert_growing(path: Path) -> None:
    with av.open(str(path)) as container:
        times = [packet.dts for packet in container.demux(audio=0) if packet.size]
    assert len(times) > 10
    assert all(before < after for before, after in pairwise(times))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("container", [".mp4", ".avi", ".mkv"])
def test_mp3_is_copied_from_every_clock(tmp_path: Path, suffix: str, container: str) -> None:
    """AVI counts packets of 26 ms, Matroska milliseconds."""
    tone = Tone(seconds=0.8, codec="libmp3lame")
    source = make_clip(tmp_path / f"s{container}", codec="mpeg4", b_frames=0, frames=25, sound=tone)
    path = tmp_path / f"o{suffix}"
    writer = write(path, [i * TICK for i in range(25)], source=source)
    assert writer.notes == []
    with av.open(str(path)) as opened:
        assert opened.streams.audio[0].codec_context.codec.canonical_name == "mp3"
    assert_growing(path)
    assert onset(path) == pytest.approx(onset(source), abs=0.003)
    assert sound_end(path) == pytest.approx(sound_end(source), abs=0.003)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav", "pcm_mulaw", "mp2"])
def test_sound_of_a_coarse_clock_is_encoded(tmp_path: Path, suffix: str, codec: str) -> None:
    """ADPCM's packets in AVI are 46 ms long, MP2's 26 ms, and those are the ticks of its clock."""
    source = make_clip(
        tmp_path / "s.avi", codec="mpeg4", b_frames=0, frames=25, sound=Tone(seconds=0.8, codec=codec, rate=44100)
    )
    path = tmp_path / f"o{suffix}"
    writer = write(path, [i * TICK for i in range(25)], source=source)
    assert len(writer.notes) == (0 if codec == "mp2" and suffix != ".mov" else 1)
    assert_growing(path)
    assert onset(path) == pytest.approx(onset(source), abs=0.005)
    assert sound_end(path) == pytest.approx(sound_end(source), abs=0.005)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_mp3_with_a_coarse_clock_is_encoded(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_copy, "COPIED", {"mp4": set(), "mov": set()})
    tone = Tone(seconds=0.8, codec="libmp3lame")
    source = make_clip(tmp_path / "s.avi", codec="mpeg4", b_frames=0, frames=25, sound=tone)
    path = tmp_path / f"o{suffix}"
    writer = write(path, [i * TICK for i in range(25)], source=source)
    assert writer.notes == ["s.avi: its sound (mp3) does not fit into this container and was encoded as AAC."]
    assert_growing(path)
    assert onset(path) == pytest.approx(onset(source), abs=0.005)
    assert sound_end(path) == pytest.approx(sound_end(source), abs=0.005)


def test_a_cut_of_a_coarse_clock_stays_in_step(tmp_path: Path) -> None:
    """A cut moves the sound by the exact time, not by whole ticks of 26 ms."""
    tone = Tone(seconds=2, codec="libmp3lame")
    source = make_clip(tmp_path / "s.avi", codec="mpeg4", b_frames=0, frames=50, sound=tone)
    write(tmp_path / "o.mp4", [i * TICK for i in range(10, 40)], source=source)
    first = packets(tmp_path / "o.mp4")[0][0]
    assert first == pytest.approx(16 * 1152 / 44100 - 0.4, abs=1e-4)  # the first packet that begins after 0.4 s


def test_gaps_in_encoded_sound_stay(tmp_path: Path) -> None:
    source = make_sound(tmp_path / "s.mka", Tone(seconds=1.5, codec="pcm_s16le", gap=(0.3, 0.9)))
    path = tmp_path / "o.mp4"
    write(path, [i * TICK for i in range(50)], source=source)
    assert_growing(path)
    assert sound_end(path) == pytest.approx(1.5, abs=0.04)


@pytest.mark.parametrize("overlap", [True, False])
def test_sample_clock(overlap: bool) -> None:
    clock = _SampleClock(1000)
    tick = Fraction(1, 10)
    given = [(Fraction(1, 4), 90), (Fraction(3, 10), 90), (None, 90), (Fraction(9, 10), 50), (Fraction(0), 50)]
    times = [clock.time_of(seconds, tick, samples, overlap=overlap) for seconds, samples in given]
    assert times == [250, 340, 430, 900, 901 if overlap else 950]


def test_one_of_several_sounds_is_kept_and_said(tmp_path: Path) -> None:
    source = tmp_path / "s.mka"
    first, second = (make_sound(tmp_path / f"{hertz}.mka", Tone(hertz, codec="flac")) for hertz in (440, 880))
    with av.open(str(first)) as one, av.open(str(second)) as two, av.open(str(source), "w") as out:
        streams = [out.add_stream_from_template(old.streams.audio[0]) for old in (one, two)]
        for old, stream in zip((one, two), streams, strict=True):
            for packet in old.demux(audio=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    writer = write(tmp_path / "o.mkv", [i * TICK for i in range(20)], source=source)
    assert writer.notes == ["s.mka: of its 2 sound streams only the first was kept."]
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert len(container.streams.audio) == 1


def test_sound_and_picture_are_interleaved(tmp_path: Path) -> None:
    source = make_sound(tmp_path / "s.mka", Tone(seconds=4, codec="flac", rate=48000))
    write(tmp_path / "o.mkv", [i * TICK for i in range(100)], source=source)
    with av.open(str(tmp_path / "o.mkv")) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux() if packet.pts is not None]
    assert max(before - after for before, after in pairwise(times)) < 0.2


def test_no_sound(tmp_path: Path) -> None:
    silent = make_clip(tmp_path / "s.mp4", frames=5)
    loud = make_clip(tmp_path / "l.mp4", frames=5, sound=Tone(seconds=0.2))
    write(tmp_path / "a.mp4", [0, TICK], source=silent)
    write(tmp_path / "b.mp4", [0, TICK], info=replace(INFO, kind="frames"), source=loud)
    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert not container.streams.audio


@pytest.mark.parametrize("size", [(64, 48), (63, 48), (64, 47), (61, 33)])
def test_every_size_is_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    with VideoWriter(tmp_path / "o.mp4", info=INFO, width=width, height=height, threads=1) as writer:
        writer.write(draw_number(5, size), 0)
    with av.open(str(tmp_path / "o.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height) == size
        assert context.pix_fmt == ("yuv420p" if size == (64, 48) else "yuv444p")
    assert len(writer.notes) == (size != (64, 48))
    assert picture(tmp_path / "o.mp4") == [(5, 0.0)]


@pytest.mark.parametrize(
    ("height", "given", "tags"),
    [
        (48, ColourInfo(), (6, 1, 6, 6)),
        (720, ColourInfo(space=0), (1, 1, 1, 1)),
        (48, ColourInfo(space=1, range=1, primaries=1, transfer=1), (1, 1, 1, 1)),
        (48, ColourInfo(space=5, range=2, primaries=5, transfer=6), (5, 2, 5, 6)),
        (48, ColourInfo(space=9, range=1, primaries=9, transfer=14), (6, 1, 9, 14)),
    ],
)
def test_colours_survive_and_are_tagged(
    tmp_path: Path, height: int, given: ColourInfo, tags: tuple[int, int, int, int]
) -> None:
    path = tmp_path / "o.mp4"
    colours = np.array([[200, 40, 30], [20, 180, 60], [30, 50, 220], [250, 250, 250]], np.uint8)
    frame = np.ascontiguousarray(np.broadcast_to(np.repeat(colours, 16, axis=0), (height, 64, 3)))
    with VideoWriter(path, info=replace(INFO, colour=given), width=64, height=height, crf=4, threads=1) as writer:
        writer.write(frame, 0)
    with av.open(str(path)) as container:
        found = next(container.decode(video=0))
    assert (found.colorspace, found.color_range, found.color_primaries, found.color_trc) == tags
    back = found.reformat(format="rgb24", src_colorspace=found.colorspace, src_color_range=found.color_range)
    inner = back.to_ndarray()[4:-4, 4::16].astype(int)
    assert np.abs(inner - colours).max() <= 6


def test_the_colours_of_frames_in_a_folder_follow_the_size(tmp_path: Path) -> None:
    info = replace(INFO, kind="frames", height=720)
    with VideoWriter(tmp_path / "o.mp4", info=info, width=64, height=720, crf=4, threads=1) as writer:
        writer.write(np.full((720, 64, 3), (200, 40, 30), np.uint8), 0)
    with av.open(str(tmp_path / "o.mp4")) as container:
        found = next(container.decode(video=0))
    assert (found.colorspace, found.color_range, found.color_primaries, found.color_trc) == (1, 1, 1, 1)
    back = found.reformat(format="rgb24", src_colorspace=1, src_color_range=1).to_ndarray()
    assert np.abs(back[8:-8, 8:-8].astype(int) - (200, 40, 30)).max() <= 4


def planes(path: Path) -> tuple[list[np.ndarray], tuple[int, int, int, int]]:
    """Y, U and V of the first frame as stored, and its tags."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    found = [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width].astype(int)
        for plane in frame.planes
    ]
    return found, (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)


@pytest.mark.parametrize("size", [(1280, 720), (320, 240)])
@pytest.mark.parametrize("tags", [None, Tags(1, 1), Tags(5, 1), Tags(1, 2), Tags(5, 2)])
def test_the_sources_own_values_come_back(tmp_path: Path, size: tuple[int, int], tags: Tags | None) -> None:
    colours = {"dark": (200, 30, 40), "bright": (60, 220, 230)}
    source = make_clip(tmp_path / "s.mp4", frames=1, size=size, tags=tags, options={"crf": "4"}, **colours)
    with open_source(source) as opened:
        info, frame = opened.info, next(iter(opened))
    with VideoWriter(tmp_path / "o.mp4", info=info, width=size[0], height=size[1], crf=4, threads=1) as writer:
        writer.write(frame.pixels, frame.pts)
    (theirs, _), (ours, found) = planes(source), planes(tmp_path / "o.mp4")
    for ours_plane, theirs_plane in zip(ours, theirs, strict=True):
        assert np.abs(ours_plane - theirs_plane).mean() < 2
    if tags is not None:
        assert found[:2] == (tags.space, tags.range)
    else:
        assert (found[0], *found[2:]) == ((2, 2, 2) if size[1] == 720 else (6, 6, 6))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_pixels_keep_their_shape(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"o{suffix}"
    write(path, [0, TICK], info=replace(INFO, pixel_aspect=Fraction(64, 45)))
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


def test_gray_frames(tmp_path: Path) -> None:
    ramp = np.ascontiguousarray(np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8), (48, 64)))
    info = replace(INFO, colour=ColourInfo(range=2))
    with VideoWriter(tmp_path / "o.mp4", info=info, width=64, height=48, gray=True, crf=4, threads=1) as writer:
        writer.write(ramp, 0)
    with av.open(str(tmp_path / "o.mp4")) as container:
        found = next(container.decode(video=0))
    assert found.color_range == 1
    back = found.to_ndarray(format="rgb24").astype(int)
    assert np.abs(back - ramp[..., None]).max() <= 5


def test_only_known_containers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.mp4, \.m4v, \.mov, \.mkv"):
        write(tmp_path / "o.avi", [0])
    assert list(tmp_path.iterdir()) == []


def test_names_with_colons_and_umlauts(tmp_path: Path) -> None:
    write(tmp_path / "pipe:ä ö.mp4", [0, TICK])
    assert len(picture(tmp_path / "pipe:ä ö.mp4")) == 2


def test_no_frames_no_video(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="no frames"):
        write(tmp_path / "o.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="shape"),
        VideoWriter(tmp_path / "o.mp4", info=INFO, width=8, height=8) as writer,
    ):
        writer.write(draw_number(0, SIZE), 0)
    with pytest.raises(ValueError, match="must grow"):
        write(tmp_path / "o.mp4", [0, 0])
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_video_leaves_the_earlier_one(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "s.mp4", frames=5, sound=Tone(seconds=0.2))
    path = tmp_path / "o.mp4"
    path.write_bytes(b"earlier")

    def interrupted() -> None:
        with VideoWriter(path, info=INFO, width=64, height=48, source=source) as writer:
            writer.write(draw_number(0, SIZE), 0)
            writer.write(draw_number(1, SIZE), TICK)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"earlier"
    assert sorted(tmp_path.iterdir()) == [path, source]


FULL_DISK = """
import resource, sys
from fractions import Fraction
import numpy as np
from saliency_cli.errors import WriteError
from saliency_cli.media import VideoWriter
from saliency_cli.types import VideoInfo

info = VideoInfo("c", "video", 320, 240, None, Fraction(25), Fraction(1, 25), Fraction(0), "h264")
random = np.random.default_rng(1)
for limit in map(int, sys.argv[2].split(",")):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        with VideoWriter(sys.argv[1], info=info, width=320, height=240, crf=4, threads=1) as writer:
            for pts in range(20):
                writer.write(random.integers(0, 256, (240, 320, 3), np.uint8), pts)
    except WriteError as error:
        print(error)
    else:
        print("no error")
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_disk_that_fills_up(tmp_path: Path, suffix: str) -> None:
    """A limit of the file's size stands for the disk's: at the header, in the middle, and at the very end."""
    whole = tmp_path / f"whole{suffix}"
    script = [sys.executable, "-c", FULL_DISK]
    subprocess.run([*script, str(whole), str(1 << 30)], check=True)
    size = whole.stat().st_size
    whole.unlink()
    limits = [0, size // 2, size - 3000, size - 1]
    output = subprocess.run(
        [*script, str(whole), ",".join(map(str, limits))], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert len(output) == len(limits)
    for line in output:
        assert "cannot be written: the file grew larger than" in line
    assert list(tmp_path.iterdir()) == []
