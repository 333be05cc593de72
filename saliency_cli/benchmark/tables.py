"""Speed for people: tables for the terminal."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from saliency_cli.benchmark.results import Speed
from saliency_cli.benchmark.timing import Timing

__all__ = ["speed_summary", "speed_tables"]

NONE = "–"
RIGHT: Final = "right"


def speed_tables(speed: Speed) -> tuple[Table, ...]:
    """The engines, for a network with a window, and the stages."""
    stages = Table("stage", box=None)
    for title in ("ms a frame", "quartiles", "frames/s"):
        stages.add_column(title, justify=RIGHT)
    for stage in speed.stages:
        stages.add_row(stage.name, *_cells(stage.timing), f"{stage.frames_per_second:.1f}")
    if not speed.engines:
        return (stages,)
    engines = Table("engine", "precision", box=None)
    for title in ("ms a map", "quartiles", "times faster", "mean difference", "CC", "lowest CC"):
        engines.add_column(title, justify=RIGHT)
    for engine in speed.engines:
        found = engine.agreement
        near = [NONE] * 3
        if found is not None:
            near = [f"{found.mean_difference:.2e}", _correlation(found.cc), _correlation(found.lowest_cc)]
        engines.add_row(engine.name, engine.precision, *_cells(engine.timing), f"{engine.times_faster:.2f}", *near)
    return engines, stages


def speed_summary(speed: Speed) -> tuple[str, ...]:
    """What was measured, on what, and how: a line each."""
    model, clip, machine = speed.model, speed.clip, speed.machine
    height, width = model["input_size"]
    cores = f"{machine['cores_used'] or machine['cores']} of {machine['cores']} cores"
    return (
        f"{model['architecture']} on {model['encoder']} at {width}x{height}, weights {model['weights']}, "
        f"end to end in {model['precision']} on {machine['device']}",
        f"{clip['name'] or 'a clip made here'}: {clip['width']}x{clip['height']}, {clip['codec']}, "
        f"{clip['frames']} frames, read by {clip['decoder']}",
        f"{machine['processor']}, {cores}, {machine['threads']} threads of torch {machine['packages']['torch']}, "
        f"load {machine['load']} before and {speed.load_after} after",
        f"medians of {speed.rounds} rounds, in which all took turns"
        + ("; the pipeline ran once, after them" if speed.engines else ""),
    )


def _cells(timing: Timing) -> tuple[str, str]:
    return f"{timing.median_ms:.2f}", f"{timing.lower_quartile_ms:.2f}–{timing.upper_quartile_ms:.2f}"


def _correlation(value: float | None) -> str:
    return NONE if value is None else f"{value:.6f}"
