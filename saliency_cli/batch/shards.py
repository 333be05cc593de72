"""A batch shared among machines that do not talk to each other: every item belongs to one shard, whoever asks."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from saliency_cli.errors import UsageError

__all__ = ["Shard"]

SLURM = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True, slots=True)
class Shard:
    """Share ``number``, from 1, of ``count``."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, item: str) -> bool:
        """Whether an item belongs here: by its name alone, so that files that come or go move no other."""
        digest = hashlib.sha256(os.fsencode(item)).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """``3/8``. Raises UsageError for anything else."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard {text}: must be i/n with i from 1 to n, as 3/8.")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def from_slurm(cls, environment: Mapping[str, str]) -> Self | None:
        """The share of a task of a SLURM job array; None outside of one.

        Raises UsageError for an array whose numbers are not evenly spaced: they do not tell which share is whose.
        """
        if f"{SLURM}ID" not in environment:
            return None
        values = {}
        for name, default in (("ID", None), ("MIN", None), ("MAX", None), ("STEP", "1"), ("COUNT", None)):
            text = environment.get(SLURM + name, default)
            if text is None and name == "COUNT":
                continue
            if text is None or not re.fullmatch("[0-9]{1,9}", text):
                found = "not set" if text is None else repr(text)
                raise UsageError(f"{SLURM}{name} is {found}, where a number is needed; give --shard i/n.")
            values[name] = int(text)
        first, last, step = values["MIN"], values["MAX"], values["STEP"]
        place = values["ID"] - first
        count = (last - first) // step + 1 if step and last >= first else 0
        if not count or place % step or not 0 <= place // step < count or values.get("COUNT", count) != count:
            raise UsageError(
                f"the SLURM array's numbers (task {values['ID']} of {first} to {last} in steps of {step}) have gaps; "
                "use --array=1-N, or give --shard i/n."
            )
        return cls(place // step + 1, count)
