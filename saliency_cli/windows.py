"""Which frames the prediction of each frame sees.

A network with clip length T looks at T frames and predicts one map. TASED-Net (section 3.1) and TSFP-Net (section 3)
slide the clip over the video, and the map belongs to the clip's last frame: frame t, counted from 0, sees

- frames t-T+1 … t when t >= T-1;
- frames t+T-1 … t, played backwards, when t < T-1, as too few frames come before it.

The last backward clip reaches frame 2T-3, and the papers ask for 2T-1 frames. A shorter video is looped until it has
that many (TASED-Net, section 4.3); only its real frames get a map. One frame makes a video too.

Pure arithmetic: it knows neither pixels nor tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Window", "is_reversed", "reversed_stream", "sliding_windows", "window_indices"]

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Window(Generic[F]):
    """The clip that predicts frame ``index``: its T ``frames`` in the order in which the network takes them."""

    index: int
    frames: tuple[F, ...]
    reversed: bool

    def __repr__(self) -> str:
        return f"Window({self.index}, {len(self.frames)} frames{', reversed' if self.reversed else ''})"


def _check_length(length: int) -> None:
    if length < 1:
        raise ValueError(f"a clip has at least one frame, not {length}")


def is_reversed(frame: int, length: int) -> bool:
    """Whether ``frame`` (from 0) is predicted from a clip of ``length`` frames that is played backwards.

    Raises ValueError for a negative frame or a length below 1.
    """
    _check_length(length)
    if frame < 0:
        raise ValueError(f"frames are counted from 0, not {frame}")
    return frame < length - 1


def window_indices(frame: int, *, length: int, count: int) -> list[int]:
    """Source frames that the prediction of ``frame`` sees, in the order in which the network takes them.

    ``frame`` and the result count from 0; ``length`` is the clip length T and ``count`` the number of real frames.
    In a video of fewer than 2T-1 frames, frames past the end are those of the looped video: indices modulo ``count``.

    Raises ValueError unless ``length >= 1`` and ``0 <= frame < count``.
    """
    backwards = is_reversed(frame, length)
    if frame >= count:
        raise ValueError(f"frame {frame} is not in a video of {count} frames")
    if backwards:
        return [index % count for index in range(frame + length - 1, frame - 1, -1)]
    return list(range(frame - length + 1, frame + 1))


def sliding_windows(frames: Iterable[F], *, length: int) -> Iterator[Window[F]]:
    """The window of every frame of a stream, in order, without knowing how long the stream is.

    At most 2T-1 frames are held, and T once the first 2T-2 windows are out. A window is handed on before another frame
    is asked for: frame 0's after T frames, frame t's (t >= T-1) as soon as frame t was read and its predecessors are
    out. A stream that ends before frame 2T-3 is looped, as in :func:`window_indices`.

    Raises ValueError, at once, for a length below 1.
    """
    _check_length(length)
    return _slide(iter(frames), length)


def _slide(frames: Iterator[F], length: int) -> Iterator[Window[F]]:
    held: deque[F] = deque()
    first = 0  # index of held[0]
    done = 0  # windows handed on so far, and thus the index of the next
    for frame in frames:
        held.append(frame)
        del frame  # or it would outlive its place in `held`
        seen = first + len(held)
        while done < seen and (done >= length - 1 or done + length <= seen):
            wanted = window_indices(done, length=length, count=seen)
            yield Window(done, tuple(held[index - first] for index in wanted), done < length - 1)
            done += 1
            if done >= length:  # frame `done` sees done-T+1 and later: what came before has served
                held.popleft()
                first += 1
    # Windows are left only if a backward one had to wait, and then nothing was dropped: `held` is the whole video.
    for index in range(done, first + len(held)):
        wanted = window_indices(index, length=length, count=first + len(held))
        yield Window(index, tuple(held[position] for position in wanted), index < length - 1)


def reversed_stream(frames: Sequence[F], *, length: int) -> list[F]:
    """The frames whose windows, slid over them in this order, are the reversed ones, from the last to frame 0's.

    ``frames`` are a video's first 2T-2, or all if it has fewer; then it is looped, as in :func:`window_indices`. The
    result has T-1 frames more than there are reversed windows, and is empty without frames.

    Raises ValueError for a length below 1.
    """
    _check_length(length)
    windows = min(len(frames), length - 1)
    return [frames[index % len(frames)] for index in range(windows + length - 2, -1, -1)] if windows else []
