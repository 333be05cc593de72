"""Colours: what the standards' formulas say of code values, against the pictures that come out of both decoders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip
from fakes import fake
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.media import open_source, probe
from saliency_cli.media.tone_mapping import ToneMapper
from saliency_cli.pipeline import predict
from saliency_cli.types import ColourInfo

# FFmpeg's numbers
BT709, FCC, BT601_625, BT601_525, SMPTE240M, YCGCO, BT2020, BT2020_CONSTANT = 1, 4, 5, 6, 7, 8, 9, 10
LIMITED, FULL = 1, 2
PQ, HLG = 16, 18

# Kr and Kb: ITU-R BT.709-6, item 3.2; FCC 47 CFR 73.682; BT.601-7, 2.5.1; SMPTE 240M; BT.2020-2, table 4
LUMA = {
    BT709: (0.2126, 0.0722),
    FCC: (0.30, 0.11),
    BT601_625: (0.299, 0.114),
    BT601_525: (0.299, 0.114),
    SMPTE240M: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
# Y', Cb, Cr of eight bits: grays, colours of all hues, and what goes beyond black and white
CODES = [
    (16, 128, 128), (126, 128, 128), (235, 128, 128), (81, 90, 240), (145, 54, 34), (41, 240, 110), (170, 166, 16),
    (106, 202, 222), (120, 110, 150), (60, 140, 120), (200, 120, 140), (0, 128, 128), (255, 128, 128),
]  # fmt: skip


def decoded(code: tuple[int, int, int], matrix: int, levels: int, bits: int) -> list[float]:
    """R'G'B' of eight bits: BT.709-6, items 3.2 to 3.5, solved for the primaries; other matrices alike."""
    unit = 2 ** (bits - 8)
    y, cb, cr = (float(value) for value in code)
    if levels == LIMITED:
        luma, blue, red = (y / unit - 16) / 219, (cb / unit - 128) / 224, (cr / unit - 128) / 224
    else:
        top = 2**bits - 1
        luma, blue, red = y / top, (cb - 2 ** (bits - 1)) / top, (cr - 2 ** (bits - 1)) / top
    k_red, k_blue = LUMA[matrix]
    r, b = luma + 2 * (1 - k_red) * red, luma + 2 * (1 - k_blue) * blue
    g = (luma - k_red * r - k_blue * b) / (1 - k_red - k_blue)
    return [min(max(255 * value, 0), 255) for value in (r, g, b)]


@dataclass(frozen=True)
class Colours:
    """Tags of a stream."""

    space: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


def patches(
    path: Path,
    codes: list[tuple[int, int, int]],
    tags: Colours,
    *,
    pix_fmt: str = "yuv444p",
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of two frames without loss, a patch of 16 by 16 for each triple of code values, side by side."""
    deep = "10" in pix_fmt
    row = np.repeat(np.array(codes, np.uint16 if deep else np.uint8), 16, axis=0)  # (W, 3)
    planes = np.repeat(row.T[:, None], 16, axis=1)  # (3, 16, W)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = planes.shape[2], planes.shape[1], pix_fmt
        context = stream.codec_context
        context.thread_count, context.time_base = 1, Fraction(1, 25)
        context.colorspace, context.color_range = tags.space, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        for number in range(2):
            frame = av.VideoFrame(planes.shape[2], planes.shape[1], pix_fmt)
            for which, (plane, values) in enumerate(zip(frame.planes, planes, strict=True)):
                stored = values if "444" in pix_fmt or which == 0 else values[::2, ::2]
                padded = np.zeros((plane.height, plane.line_size // stored.itemsize), stored.dtype)
                padded[:, : plane.width] = stored[: plane.height, : plane.width]
                plane.update(padded.tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame.colorspace, frame.color_range = tags.space, tags.range
            frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def middles(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The colour in the middle of each patch, (n, 3)."""
    return pixels[8, 8::16].astype(np.int64)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("levels", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", LUMA)
def test_matrix_and_range_of_the_standards(tmp_path: Path, matrix: int, levels: int, bits: int) -> None:
    codes = [(y << bits - 8, cb << bits - 8, cr << bits - 8) for y, cb, cr in CODES]
    pix_fmt = "yuv444p" if bits == 8 else "yuv444p10le"
    path = patches(tmp_path / "clip.mkv", codes, Colours(matrix, levels), pix_fmt=pix_fmt)
    frames = list(open_source(path, decoder="pyav"))
    wanted = np.array([decoded(code, matrix, levels, bits) for code in codes])
    for frame in frames:
        assert np.abs(middles(frame.pixels) - wanted).max() <= 1.5
    assert probe(path).info.colour == ColourInfo(space=matrix, range=levels)


@pytest.mark.parametrize("tags", [Colours(BT709, LIMITED), Colours(BT601_525, FULL), Colours(BT2020, LIMITED)])
def test_both_decoders_agree_with_the_standards(tmp_path: Path, tags: Colours) -> None:
    """In the usual 4:2:0, without loss."""
    path = patches(tmp_path / "clip.mp4", CODES, tags, pix_fmt="yuv420p", codec="libx264", options={"qp": "0"})
    wanted = np.array([decoded(code, tags.space, tags.range, 8) for code in CODES])
    for decoder in ("decord", "pyav"):
        for frame in open_source(path, decoder=decoder):
            assert np.abs(middles(frame.pixels) - wanted).max() <= 2.5, decoder


def test_without_tags_it_is_bt601(tmp_path: Path) -> None:
    path = patches(tmp_path / "clip.mkv", CODES, Colours())
    wanted = np.array([decoded(code, BT601_525, LIMITED, 8) for code in CODES])
    assert np.abs(middles(next(iter(open_source(path))).pixels) - wanted).max() <= 1.5


def test_bt2020_of_constant_luminance_is_read_as_the_usual_one(tmp_path: Path) -> None:
    path = patches(tmp_path / "clip.mkv", CODES, Colours(BT2020_CONSTANT, LIMITED))
    wanted = np.array([decoded(code, BT2020, LIMITED, 8) for code in CODES])
    assert np.abs(middles(next(iter(open_source(path, decoder="pyav"))).pixels) - wanted).max() <= 1.5


def test_colours_that_nothing_can_read_are_refused(tmp_path: Path) -> None:
    path = patches(tmp_path / "clip.mkv", CODES, Colours(YCGCO, LIMITED))
    with pytest.raises(ReadError, match=r"stores its colours in a way that nothing here can read \(matrix 8\)"):
        open_source(path)


# High dynamic range. The formulas once more, from the standards, independently of the package's.


def pq(luminance: float) -> int:
    """PQ's code value of a luminance in cd/m², ten bits, limited range: BT.2100-2, tables 4 and 9."""
    y = (luminance / 10_000) ** (2610 / 16384)
    e = ((3424 / 4096 + 2413 / 4096 * 32 * y) / (1 + 2392 / 4096 * 32 * y)) ** (2523 / 4096 * 128)
    return round((219 * e + 16) * 4)


def hlg(scene: float) -> int:
    """HLG's code value of the scene's light in 0 … 1: BT.2100-2, tables 5 and 9."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    e = (3 * scene) ** 0.5 if scene <= 1 / 12 else a * np.log(12 * scene - b) + c
    return round((219 * float(e) + 16) * 4)


def coloured(red: float, green: float, blue: float) -> tuple[int, int, int]:
    """Y'CbCr in BT.2020, ten bits, of luminances of the three primaries, in PQ."""
    r, g, b = ((pq(value) / 4 - 16) / 219 for value in (red, green, blue))
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    return (
        round((219 * y + 16) * 4),
        round((224 * (b - y) / 1.8814 + 128) * 4),
        round((224 * (r - y) / 1.4746 + 128) * 4),
    )


HDR10 = Colours(BT2020, LIMITED, BT2020, PQ)
LUMINANCES = [0, 0.05, 0.5, 1, 5, 10, 20, 50, 100, 150, 203, 300, 500, 800, 1000]


def hdr_levels(path: Path) -> NDArray[np.int64]:
    source = open_source(path)
    first, second = (middles(frame.pixels) for frame in source)
    assert np.array_equal(first, second)
    assert source.decoder == "pyav"
    return first


def test_a_ramp_in_pq(tmp_path: Path) -> None:
    """Grays stay gray and rise; dark and middle tones are as on an SDR display whose white is 203 cd/m²."""
    codes = [(pq(value), 512, 512) for value in LUMINANCES]
    levels = hdr_levels(patches(tmp_path / "clip.mkv", codes, HDR10, pix_fmt="yuv444p10le"))
    assert np.ptp(levels, axis=1).max() <= 1
    gray = dict(zip(LUMINANCES, levels[:, 1], strict=True))
    assert np.diff(levels[:-2, 1]).min() >= 1
    assert np.diff(levels[:, 1]).min() >= 0
    assert (gray[0], gray[1000]) == (0, 255)
    for luminance in (1, 5, 10, 20, 50):  # below the knee: BT.1886 with its gamma of 2.4
        assert abs(gray[luminance] - 255 * (luminance / 203) ** (1 / 2.4)) <= 1.5
    assert gray[203] == 230  # white on paper


def test_a_brighter_master_leaves_room_for_its_highlights(tmp_path: Path) -> None:
    """The mastering display's peak comes with HEVC: 4000 cd/m² here. What is above is cut off, below it is not."""
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(40000000,50)"
    alone = "lossless=1:log-level=none:pools=none:frame-threads=1:bframes=0"
    options = {"x265-params": f"{alone}:master-display={display}", "preset": "ultrafast"}
    codes = [(pq(value), 512, 512) for value in (10, 203, 1000, 4000, 10000)]
    path = patches(tmp_path / "clip.mp4", codes, HDR10, pix_fmt="yuv420p10le", codec="libx265", options=options)
    assert probe(path).look.peak == 4000
    gray = hdr_levels(path)[:, 1].tolist()
    assert gray == [*sorted(set(gray[:4])), 255]
    assert abs(gray[0] - 255 * (10 / 203) ** (1 / 2.4)) <= 1.5
    assert 200 <= gray[1] <= 220
    assert gray[2] <= 252
    assert gray[3] == 255


def test_hues_in_pq_keep_their_order(tmp_path: Path) -> None:
    """Skin, and the primaries and secondaries of BT.2020: what is largest stays largest, what is smallest smallest."""
    colours = {
        "skin": (90.0, 55.0, 38.0), "bright skin": (400.0, 245.0, 170.0), "red": (150.0, 5.0, 5.0),
        "green": (5.0, 150.0, 5.0), "blue": (5.0, 5.0, 150.0), "yellow": (600.0, 600.0, 20.0),
        "cyan": (20.0, 600.0, 600.0), "magenta": (600.0, 20.0, 600.0),
    }  # fmt: skip
    codes = [coloured(*colour) for colour in colours.values()]
    levels = hdr_levels(patches(tmp_path / "clip.mkv", codes, HDR10, pix_fmt="yuv444p10le"))
    shown = dict(zip(colours, levels.tolist(), strict=True))
    for name in ("skin", "bright skin"):
        red, green, blue = shown[name]
        assert red > green + 15 > blue + 15
    for name, (red, green, blue) in colours.items():
        r, g, b = shown[name]
        for (one, other), (first, second) in zip(
            [(red, green), (green, blue), (red, blue)], [(r, g), (g, b), (r, b)], strict=True
        ):
            assert (first > second + 40) if one > 2 * other else (first + 40 < second) if other > 2 * one else True, (
                name
            )


def test_primaries_are_changed_to_bt709(tmp_path: Path) -> None:
    """Colours within BT.709, given by their light there, come out as an SDR display would show them: BT.2087-0."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    light = np.array([[40, 20, 10], [10, 40, 20], [12, 14, 45], [50, 50, 8]], float)  # cd/m2, below the knee
    codes = [coloured(*colour) for colour in light @ to_2020.T]
    levels = hdr_levels(patches(tmp_path / "clip.mkv", codes, HDR10, pix_fmt="yuv444p10le"))
    assert np.abs(levels - 255 * (light / 203) ** (1 / 2.4)).max() <= 3


def test_a_ramp_in_hlg(tmp_path: Path) -> None:
    """On a display of 1000 cd/m²: 75 % of the signal is white on paper, at 203 cd/m² (BT.2408, table 1)."""
    scene = [0, 0.002, 0.01, 0.03, 0.0833, 0.265, 0.5, 0.8, 1]
    tags = Colours(BT2020, LIMITED, BT2020, HLG)
    levels = hdr_levels(
        patches(tmp_path / "clip.mkv", [(hlg(e), 512, 512) for e in scene], tags, pix_fmt="yuv444p10le")
    )
    assert np.ptp(levels, axis=1).max() <= 1
    gray = dict(zip(scene, levels[:, 1].tolist(), strict=True))
    assert np.diff(levels[:-1, 1]).min() >= 1
    assert (gray[0], gray[1]) == (0, 255)
    for e in (0.01, 0.03, 0.0833):  # BT.2100's OOTF: 1000 cd/m2 times the scene's light to the power of 1.2
        assert abs(gray[e] - 255 * (1000 * e**1.2 / 203) ** (1 / 2.4)) <= 2
    assert 228 <= gray[0.265] <= 232


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "pq"), (HLG, "hlg")])
def test_what_is_said_of_hdr(tmp_path: Path, transfer: int, name: str) -> None:
    path = patches(tmp_path / "clip.mkv", CODES, Colours(BT2020, LIMITED, BT2020, transfer))
    source = open_source(path)
    assert source.info.hdr == name
    assert source.info.colour == ColourInfo(space=BT709, range=LIMITED, primaries=BT709, transfer=BT709)
    assert (source.decoder, source.reason) == ("pyav", f"decord does not map {name.upper()} to standard pictures")


def test_products_of_hdr_are_tagged_as_what_they_are(tmp_path: Path) -> None:
    """BT.709, not PQ, which players would map once more; and white on paper arrives at its level."""
    path = patches(tmp_path / "clip.mkv", [(pq(203), 512, 512)] * 4, HDR10, pix_fmt="yuv444p10le")
    predict(path, output=str(tmp_path / "o.mp4"), opacity=0.0, predictor=fake())
    with av.open(str(tmp_path / "o.mp4")) as container:
        frame = next(container.decode(video=0))
    tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    assert tags == (BT709, LIMITED, BT709, BT709)
    assert abs(int(frame.to_ndarray(format="rgb24")[8, 8, 1]) - 230) <= 2
    assert json.loads((tmp_path / "o.mp4.json").read_text())["input"]["hdr"] == "pq"


@pytest.mark.parametrize("transfer", [2, 1, 13, 14, 15])
def test_standard_pictures_are_untouched(tmp_path: Path, transfer: int) -> None:
    """Bit for bit what swscale gives, in ten bits and BT.2020 too."""
    codes = [(y * 4, cb * 4, cr * 4) for y, cb, cr in CODES]
    path = patches(tmp_path / "clip.mkv", codes, Colours(BT2020, LIMITED, BT2020, transfer), pix_fmt="yuv444p10le")
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    source = open_source(path, decoder="pyav")
    assert all(np.array_equal(frame.pixels, other) for frame, other in zip(source, plain, strict=True))
    assert (source.info.hdr, source.info.colour.transfer) == ("", transfer)


def test_mapping_does_not_depend_on_what_lies_around() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (70, 33, 3), dtype=np.uint16)
    for mapper in (ToneMapper("pq"), ToneMapper("hlg")):
        whole = mapper.map(pixels)
        assert np.array_equal(whole[40:50, 7:9], mapper.map(np.ascontiguousarray(pixels[40:50, 7:9])))


@pytest.mark.parametrize(("tag", "said"), [(b"dvhe", True), (b"hev1", False)])
def test_dolby_vision_that_others_cannot_show_is_said(tmp_path: Path, tag: bytes, said: bool) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=3, codec="libx265", pix_fmt="yuv420p10le")
    content = clip.read_bytes()
    assert content.count(b"hev1") == 1  # its sample entry
    clip.write_bytes(content.replace(b"hev1", tag))
    with open_source(clip) as source:
        assert len(list(source)) == 3
    assert any("Dolby Vision" in warning for warning in source.warnings) == said


def test_a_sample_entry_of_any_four_bytes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=3, codec="libx265", pix_fmt="yuv420p10le")
    clip.write_bytes(clip.read_bytes().replace(b"hev1", b"\xff\xfe\x00\x80"))
    with pytest.raises(ReadError, match="no decoder"):
        open_source(clip)
