"""Which decoder can be trusted with a video."""

from __future__ import annotations

from typing import Literal

from saliency_cli.media.orientation import Orientation
from saliency_cli.media.probe import Probe

__all__ = ["DECORD_BYTES", "DECORD_CLAIMED", "DECORD_CODECS", "DecoderName", "choose_decoder"]

DecoderName = Literal["decord", "pyav"]

DECORD_CODECS = frozenset({"h264", "hevc", "mpeg4", "vp8", "vp9", "prores", "ffv1"})
DECORD_REFUSES = frozenset({"asf", "ivf", "ogg"})  # containers, by FFmpeg's names
# decord decodes ahead without bound, and cannot be told to stop: with 750 frames of 1920x1080 and a slow reader, 3.4 GB
# lay in its queue. What it can pile up at most is the whole video, so it gets those that fit into this.
DECORD_BYTES = 512 * 2**20
# It also reserves room for the times of all frames that the header's duration amounts to, and a lie there ends the
# process. A day at 60 frames per second is 5 million.
DECORD_CLAIMED = 10_000_000


def choose_decoder(found: Probe, wanted: Literal["auto", "decord", "pyav"] = "auto") -> tuple[DecoderName, str]:
    """Which decoder reads this file, and why.

    On anything unusual decord drops, repeats or mixes up frames without a word, and it decodes ahead without bound, so
    it gets only plain and short files; PyAV takes everything else. Asking for one by name overrules the choice.
    """
    doubt = _doubt(found)
    if wanted == "auto":
        if doubt:
            return "pyav", doubt
        return "decord", f"plain {found.info.codec}: every packet is whole, timed and shown, and time starts at 0"
    if wanted == "decord" and doubt:
        return "decord", f"asked for, in spite of this: {doubt}"
    return wanted, "asked for"


def _doubt(found: Probe) -> str | None:
    """The first reason not to trust decord with a file, None if there is none."""
    info = found.info
    if info.codec not in DECORD_CODECS:
        return f"decord does not read {info.codec}"
    if found.container in DECORD_REFUSES:
        return f"decord does not open {found.container}"
    try:
        info.path.encode()
    except UnicodeEncodeError:
        return "the file's name is not valid UTF-8, which decord cannot open"
    if info.hdr:
        return f"decord does not map {info.hdr.upper()} to standard pictures"
    if found.video_streams != 1:
        return f"{found.video_streams} video streams, of which decord takes another than the first"
    if found.discarded:
        return f"an edit list hides some packets ({found.discarded}), which decord would show"
    if found.unshown:
        return f"frames that are not to be shown ({found.unshown}), for which decord gives others"
    if found.corrupt:
        return f"damaged packets: {found.corrupt}"
    if found.spoilt or found.first is None:
        return "damaged frames at the beginning, which decord would show"
    if found.untimed:
        return f"packets without a timestamp: {found.untimed}"
    if found.backward:
        return f"the clock jumps back: {found.backward} times"
    if found.leaps:
        return f"the clock leaps by more than a day: {found.leaps} times"
    if found.duplicates:
        return f"frames that carry the time of another: {found.duplicates}"
    if found.container.startswith("mpeg"):  # transport and programme streams
        return f"decord drops the first frames of {found.container} and repeats the last"
    if info.start != 0:
        return f"the first frame's time is {float(info.start):.3f} s, not 0"
    if found.announced is not None and found.announced != found.packets:
        return f"the container announces {found.announced} frames but holds {found.packets}"
    if found.look.orientation.mirrored or (found.look.orientation != Orientation() and "mp4" not in found.container):
        return "the picture must be turned, which decord does in mp4 and mov only"
    if found.claimed > DECORD_CLAIMED:
        return f"decord would reserve memory for the {found.claimed:,} frames that the header announces"
    decoded = 3 * info.width * info.height * found.packets
    if decoded > DECORD_BYTES:
        return f"decord may hold all {decoded / 2**20:,.0f} MiB of decoded frames in memory"
    return None
