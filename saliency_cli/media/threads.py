"""How many threads decoders and encoders take, beside the network's own: a rule, of what was asked and of the cores."""

from __future__ import annotations

import os

__all__ = ["decoder_threads", "encoder_threads", "threads_wanted"]

MAX_THREADS = 8  # each of a decoder's threads holds frames of its own, and beyond this they gain nothing


def decoder_threads(asked: int | None) -> int:
    """As many as asked for, but no more than 8; otherwise one a core."""
    return min(threads_wanted(asked) or os.cpu_count() or 1, MAX_THREADS)


def encoder_threads(asked: int | None) -> int:
    """As many as asked for; otherwise 0, x264's own choice, half as many again as cores."""
    return threads_wanted(asked) or 0


def threads_wanted(asked: int | None = None) -> int | None:
    """What was asked for, or what OMP_NUM_THREADS says, which limits the network too: who sets it shares the machine.

    Of a list, which is for parallel regions within others, its first number counts.
    """
    if asked is not None:
        return asked
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else None
