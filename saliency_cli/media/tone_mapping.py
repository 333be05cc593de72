"""High dynamic range as standard pictures: PQ and HLG in BT.2020 become BT.709, as a display of 8 bits shows them.

Step by step, on linear light of the display, in units of the white of standard pictures:

1. PQ's code values are luminances (SMPTE ST 2084, equation 4.1; BT.2100-2, table 4). HLG's are light of the scene
   (ARIB STD-B67; BT.2100-2, table 5), which the display's gamma of 1.2 turns into that of a display of 1000 cd/m².
2. White in graphics and on paper lies at 203 cd/m² (Report ITU-R BT.2408, table 1): that is what a standard picture's
   white stands for, and the peak to which everything is compressed, with the EETF of Report ITU-R BT.2390. It leaves
   dark and middle tones as they are, and bends only what is brighter. Its argument is the largest of R, G and B, and
   all three are scaled alike: hues stay.
3. The primaries are changed to BT.709's; what they cannot show is clipped.
4. A display's gamma of 2.4 (BT.1886) gives the code values.

White on paper, at 203 cd/m², comes out at level 230 if the material goes up to 1000 cd/m², and the peak at 255. The
material's peak is what its mastering display could show, or 1000 cd/m² where the file is silent.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.types import Hdr

__all__ = [
    "BT709",
    "BT2020",
    "DEFAULT_PEAK",
    "WHITE",
    "ToneMapper",
    "hdr_of",
    "hlg_to_scene",
    "luminance_to_pq",
    "pq_to_luminance",
]

Doubles: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.number[Any])

WHITE = 203.0  # cd/m2, of a standard picture's white
DEFAULT_PEAK = 1000.0  # cd/m2, of material that does not say it
PQ_PEAK = 10_000.0  # cd/m2
HLG_GAMMA = 1.2  # of a display of 1000 cd/m2
DISPLAY_GAMMA = 2.4
TRANSFERS: dict[int, Hdr] = {16: "pq", 18: "hlg"}  # as FFmpeg numbers them
ROWS = 32  # are mapped at a time, so that what lies between two steps stays in the processor's cache
FINE = 16383  # steps of the tables over linear light, by its square root: dark tones need the finest

BT2020_LUMA = (0.2627, 0.6780, 0.0593)
D65 = (0.3127, 0.3290)
# Chromaticities x, y of red, green and blue, by FFmpeg's number
BT709, BT2020, DCI_P3, DISPLAY_P3 = 1, 9, 11, 12
PRIMARIES = {
    BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    DCI_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}


def hdr_of(transfer: int) -> Hdr:
    """What a transfer characteristic (FFmpeg's number) stands for: ``"pq"``, ``"hlg"``, or nothing."""
    return TRANSFERS.get(transfer, "")


def pq_to_luminance(code: Doubles) -> Doubles:
    """cd/m² of PQ's code values in 0 … 1 (SMPTE ST 2084:2014, equation 4.1)."""
    root = np.asarray(code, np.float64) ** (1 / PQ_M2)
    return np.asarray(PQ_PEAK * (np.maximum(root - PQ_C1, 0) / (PQ_C2 - PQ_C3 * root)) ** (1 / PQ_M1))


def luminance_to_pq(luminance: Doubles | float) -> Doubles:
    """PQ's code values in 0 … 1 of luminances in cd/m² (SMPTE ST 2084:2014, equation 5.2)."""
    power = (np.clip(luminance, 0, PQ_PEAK) / PQ_PEAK) ** PQ_M1
    return np.asarray(((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power)) ** PQ_M2)


PQ_M1, PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
PQ_C1, PQ_C2, PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def hlg_to_scene(code: Doubles) -> Doubles:
    """Light of the scene, 0 … 1, of HLG's code values in 0 … 1 (BT.2100-2, table 5: the inverse OETF)."""
    a, b = 0.17883277, 0.28466892
    c = 0.5 - a * np.log(4 * a)
    code = np.asarray(code, np.float64)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((np.maximum(code, 0.5) - c) / a) + b) / 12)


def compressed(luminance: Doubles, peak: float) -> Doubles:
    """What a display of 203 cd/m² shows of luminances up to ``peak``: the EETF of Report ITU-R BT.2390, for black at 0.

    All in cd/m². Material that is not brighter than the display stays as it is.
    """
    if peak <= WHITE:
        return np.minimum(luminance, WHITE)
    source = float(luminance_to_pq(peak))
    top = float(luminance_to_pq(WHITE)) / source
    knee = 1.5 * top - 0.5
    level = np.minimum(luminance_to_pq(luminance) / source, 1)
    t = (level - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * top
    return pq_to_luminance(np.where(level < knee, level, spline) * source)


def _to_xyz(primaries: int) -> Doubles:
    """The matrix from linear RGB to XYZ for white D65 (SMPTE RP 177)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in PRIMARIES.get(primaries, PRIMARIES[BT2020])]).T
    x, y = D65
    scale = np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))
    return np.asarray(columns * scale)


@cache
def _codes() -> NDArray[np.uint8]:
    """Levels of 8 bits by the square root of linear light."""
    light = np.linspace(0, 1, FINE + 1) ** 2
    return np.rint(255 * light ** (1 / DISPLAY_GAMMA)).astype(np.uint8)


class ToneMapper:
    """Maps pictures of one video.

    Args:
        hdr: the transfer characteristic.
        peak: cd/m², of the brightest that PQ material holds; HLG's is that of its display.
        primaries: FFmpeg's number; BT.2020 if it is none that is known here.
    """

    def __init__(self, hdr: Literal["pq", "hlg"], *, peak: float = DEFAULT_PEAK, primaries: int = BT2020) -> None:
        codes = np.arange(65536) / 65535
        self._hlg = hdr == "hlg"
        self._matrix = np.linalg.solve(_to_xyz(BT709), _to_xyz(primaries)).astype(np.float32)
        if self._hlg:
            # Of the square root of the largest component on the display, as a share of its peak
            luminance, scale = np.linspace(0, 1, FINE + 1) ** 2 * DEFAULT_PEAK, DEFAULT_PEAK / WHITE
            self._light = hlg_to_scene(codes).astype(np.float32) * np.float32(scale)
            peak = DEFAULT_PEAK
        else:
            luminance = pq_to_luminance(codes)
            self._light = (luminance / WHITE).astype(np.float32)
        gain = np.ones_like(luminance)
        np.divide(compressed(luminance, peak), luminance, out=gain, where=luminance > 0)
        self._gain = gain.astype(np.float32)

    def map(self, pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Code values of 16 bits, full range, RGB (H, W, 3), as BT.709 of 8 bits."""
        mapped = np.empty(pixels.shape, np.uint8)
        for top in range(0, len(pixels), ROWS):
            mapped[top : top + ROWS] = self._rows(pixels[top : top + ROWS])
        return mapped

    def _rows(self, pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
        light: Floats = self._light.take(pixels)
        if self._hlg:
            # BT.2100-2, table 5: the OOTF, luminance of the scene to the power of gamma - 1
            luma = cv2.transform(light, np.array([BT2020_LUMA], np.float32)) * np.float32(WHITE / DEFAULT_PEAK)
            system = cv2.pow(luma, HLG_GAMMA - 1)
            largest = _largest(light) * system * np.float32(WHITE / DEFAULT_PEAK)
            gain = system * self._gain.take((np.sqrt(largest) * FINE).astype(np.uint16), mode="clip")
        else:
            gain = self._gain.take(_largest(pixels))
        light *= gain[..., None]
        shown: Floats = np.sqrt(np.clip(cv2.transform(light, self._matrix), 0, 1))
        return _codes().take((shown * np.float32(FINE) + np.float32(0.5)).astype(np.uint16))


def _largest(pixels: NDArray[Scalar]) -> NDArray[Scalar]:
    """The largest of the three components, (H, W)."""
    largest: NDArray[Scalar] = np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    return largest
