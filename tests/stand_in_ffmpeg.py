"""Just enough of ffmpeg and ffplay to run the documentation's pipes where neither is installed.

``ffmpeg -i IN [-c copy] [-f FORMAT] OUT`` remuxes, or decodes to raw video, or encodes to H.264 if OUT is a file;
``ffplay -`` writes how many frames it was shown, and their format, to ``shown.txt``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av


def opened(name: str) -> Any:
    return av.open(sys.stdin.buffer if name == "-" else name)


def convert(arguments: list[str]) -> None:
    flags = {arguments[at]: arguments[at + 1] for at in range(0, len(arguments) - 1, 2)}
    assert set(flags) <= {"-v", "-i", "-f", "-c", "-c:v", "-c:a"}, flags
    goal = arguments[-1]
    with (
        opened(flags["-i"]) as source,
        av.open(sys.stdout.buffer if goal == "-" else goal, "w", format=flags.get("-f")) as out,
    ):
        video, sound = source.streams.video[0], source.streams.best("audio")
        copies: dict[Any, Any] = {sound: out.add_stream_from_template(sound)} if sound else {}
        if flags.get("-c") == "copy":
            copies[video] = out.add_stream_from_template(video)
        else:
            codec = flags.get("-c:v", "libx264")
            new: Any = out.add_stream(codec, rate=25)
            new.width, new.height = video.width, video.height
            new.pix_fmt = "yuv420p"
            new.codec_context.time_base = video.time_base
        for packet in source.demux():
            if packet.stream in copies:
                if packet.size:
                    packet.stream = copies[packet.stream]
                    out.mux(packet)
            else:
                for frame in packet.decode():
                    out.mux(new.encode(frame.reformat(format="yuv420p")))
        if video not in copies:
            out.mux(new.encode(None))


def play(arguments: list[str]) -> None:
    assert arguments[-1] == "-"
    with opened("-") as source:
        shown = [frame.format.name for frame in source.decode(video=0)]
        Path("shown.txt").write_text(f"{len(shown)} {shown[0]} {source.format.name}")


if __name__ == "__main__":
    (play if sys.argv[1] == "ffplay" else convert)(sys.argv[2:])
