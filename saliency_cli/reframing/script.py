"""The path of the crop as text, for other programs: JSON, and commands for FFmpeg's ``crop`` filter."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saliency_cli.reframing.crop import Box

__all__ = ["as_commands", "as_json"]


def as_json(header: Mapping[str, Any], seconds: Sequence[float], boxes: Sequence[Box], *, first: int = 0) -> str:
    """The header's entries, and ``path``: for each frame its time and its window in pixels of the upright source.

    Frames are numbered from ``first`` on.
    """
    lines = (
        json.dumps({"frame": index, "seconds": round(time, 6), "x": x, "y": y, "width": width, "height": height})
        for index, (time, (x, y, width, height)) in enumerate(zip(seconds, boxes, strict=True), first)
    )
    # ASCII, which every stdout takes
    head = json.dumps(dict(header), indent=2, default=str, allow_nan=False)
    return head.removesuffix("\n}") + ',\n  "path": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"


def as_commands(
    source: Path,
    goal: Path,
    seconds: Sequence[float],
    boxes: Sequence[Box],
    *,
    stretch: tuple[float, float | None] | None = None,
) -> str:
    """A script for FFmpeg's ``sendcmd``, with the line to use it in a comment.

    A command is due halfway between two frames, so that no rounding of times lets it miss its own. ``sendcmd`` takes
    no times before 0: where the video begins there, both filters see it begin at 0. ``stretch`` is what
    the line cuts out: begin and end on the source's clock.
    """
    x, y, width, height = boxes[0]
    # In a filter's description a quoted name may hold anything but a quote, which is put between two quoted parts
    name = str(goal).replace("\\", "\\\\").replace(":", "\\:").replace("'", "\\'")
    graph = "sendcmd=f='" + name.replace("'", "'\\''") + f"',crop={width}:{height}:{x}:{y}:exact=1"
    later = max(0.0, -seconds[0])
    if later:
        ticks = f"round({later:.6f}/TB)"
        graph = f"setpts=PTS+{ticks},{graph},setpts=PTS-{ticks}"
    # Behind the input, where they count on its clock, as the script does, and cut the filtered frames
    part: list[str] = []
    if stretch is not None:
        begins, ends = stretch
        part = ["-ss", f"{begins:.6f}", *([] if ends is None else ["-to", f"{ends:.6f}"])]
    video = f"{source.stem}.{width}x{height}.mp4"
    line = shlex.join(["ffmpeg", "-copyts", "-i", str(source), "-vf", graph, *part, "-c:a", "copy", video])
    lines = [f"# {line}".replace("\n", " ")]
    last = x, y
    for index in range(1, len(boxes)):
        x, y = boxes[index][:2]
        if (x, y) != last:
            due = (seconds[index - 1] + seconds[index]) / 2 + later
            lines.append(f"{due:.6f} crop x {x}, crop y {y};")
            last = x, y
    return "\n".join(lines) + "\n"
