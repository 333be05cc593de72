"""Where the products of a reframing go: names by fixed rules, and the checks that protect what is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media import VIDEO_FORMATS, require_pipe, sidecar_path
from saliency_cli.outputs import STDOUT, product_name, protect
from saliency_cli.reframing.aspect import Aspect
from saliency_cli.reframing.options import ReframeOptions

__all__ = ["PATH_FORMATS", "Goals", "plan_goals"]

PATH_FORMATS = (".json", ".cmd", ".txt")


@dataclass(frozen=True, slots=True)
class Goals:
    """``video`` and ``path``: None is none. ``path`` may be ``-``, stdout."""

    video: Path | None
    path: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that are files."""
        return tuple(goal for goal in (self.video, self.path) if goal is not None and str(goal) != STDOUT)


def plan_goals(source: Path, aspect: Aspect, options: ReframeOptions, *, frames: bool) -> Goals:
    """The products of one input, a folder of frames or a file.

    Raises:
        UsageError: a name that does not fit, or would replace the input or another product.
        WriteError: something is there already and may not be replaced.
    """
    goals = Goals(_video(source, aspect, options, frames=frames), _path(options))
    if goals.video is not None:
        protect(goals.video, "video", [source], overwrite=options.overwrite)
    if goals.path is not None and str(goals.path) != STDOUT:
        if _real(goals.path) == _real(sidecar_path(source)):  # which would make the input look like a product
            raise UsageError(f"--path {goals.path}: is the place of a sidecar of the input; give another name.")
        protect(goals.path, "stats", [source], overwrite=options.overwrite)
        if goals.video is not None and _real(goals.path) in (_real(goals.video), _real(sidecar_path(goals.video))):
            raise UsageError(f"--path {goals.path}: is the place of the video or of its sidecar; give another name.")
    return goals


def _video(source: Path, aspect: Aspect, options: ReframeOptions, *, frames: bool) -> Path | None:
    if options.output is None and options.path is not None:
        return None
    label = f"{aspect.label}.preview" if options.preview else aspect.label
    name = f"{product_name(source, frames=frames, layout='vsal')}.{label}.mp4"
    if options.output is None:
        return Path(name)
    if options.output == "":
        raise UsageError("-o: the name is empty; give a file, a folder, or . for this one.")
    if options.output == STDOUT:
        raise UsageError("-o -: the reframed video is a file; give its name, or use --path - for the path on stdout.")
    goal = Path(options.output)
    if goal.name in ("", "..") or goal.is_dir():
        return goal / name
    suffix = goal.suffix.lower()
    if suffix in VIDEO_FORMATS:
        return goal
    if suffix:
        raise UsageError(f"-o {goal}: a video can be written as {', '.join(VIDEO_FORMATS)}, not as {suffix}.")
    if goal.exists():
        raise WriteError(f"{goal} is a file, and a folder is needed for the product; give another -o.")
    return goal / name


def _path(options: ReframeOptions) -> Path | None:
    if options.path is None:
        return None
    if options.path == STDOUT:
        require_pipe(text=True)
        return Path(STDOUT)
    goal = Path(options.path)
    if goal.suffix.lower() not in PATH_FORMATS:
        raise UsageError(f"--path {options.path}: must end in {', '.join(PATH_FORMATS)}, or be - for JSON on stdout.")
    return goal


def _real(path: Path) -> str:
    return os.path.realpath(path)
