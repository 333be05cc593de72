"""From a video to its page, and from many to theirs and an index.

The page is written beside its goal and renamed when it is complete; so is its sidecar.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from saliency_cli._version import __version__
from saliency_cli.errors import UsageError, describe
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import SidecarWriter, Source, atomic_file, source_path
from saliency_cli.outputs import no_folders_left_of
from saliency_cli.pipeline import check_rate, load_predictor, open_input, use_threads
from saliency_cli.postprocess import check_fit
from saliency_cli.provenance import digest_of, provenance
from saliency_cli.reporting.collect import OnProgress, collect
from saliency_cli.reporting.goals import Goal, plan_index, plan_page, plan_pages
from saliency_cli.reporting.index import write_index
from saliency_cli.reporting.options import ReportOptions
from saliency_cli.reporting.page import write_page
from saliency_cli.reporting.result import ReportFailure, ReportIndex, ReportPage
from saliency_cli.timings import StageClock

__all__ = ["report", "report_all"]

log = logging.getLogger(__name__)


def report(
    source: str | Path,
    options: ReportOptions | None = None,
    *,
    predictor: SaliencyPredictor | None = None,
    on_progress: OnProgress | None = None,
    **changes: Any,
) -> ReportPage:
    """Predict a video, a folder of frames or a picture, and write a page that shows it: one HTML file, self-contained.

    Args:
        source: the input; not stdin.
        options: what is wanted; ``changes`` are fields of :class:`ReportOptions` that differ from it. Without
            ``output``, ``clip.mp4`` gives ``clip.report.html`` in the current folder.
        predictor: a loaded one, instead of what the options name.
        on_progress: called after each frame's map.

    Raises:
        ReadError, WriteError, WeightsError, DeviceError, UsageError: as in ``saliency_cli.errors``. No page is left
            then, and an earlier one is untouched.
    """
    options = replace(options or ReportOptions(), **changes)
    path = source_path(source)
    goal = Goal(path, plan_page(path, options.output, overwrite=options.overwrite))
    return _report(goal, options, predictor, on_progress)


def report_all(
    sources: Sequence[str | Path],
    options: ReportOptions | None = None,
    *,
    predictor: SaliencyPredictor | None = None,
    on_begin: Callable[[Path], None] | None = None,
    on_progress: OnProgress | None = None,
    on_page: Callable[[ReportPage], None] | None = None,
    on_failure: Callable[[ReportFailure, BaseException], None] | None = None,
    **changes: Any,
) -> ReportIndex:
    """A page for each of several inputs, and ``index.html`` that leads to them. One input's failure costs no other.

    Args:
        sources: videos, folders of frames or pictures, and folders of videos, at any depth.
        options: as for :func:`report`; ``output`` is a folder, and has to be given.
        on_begin, on_page, on_failure: called for each input, before and after.

    Raises:
        UsageError, WriteError, WeightsError, DeviceError: what concerns all, before the first input is read.
    """
    options = replace(options or ReportOptions(), **changes)
    if options.output in (None, "", "-"):
        raise UsageError("several pages need a folder; name one with -o.")
    folder = Path(str(options.output))
    goals = plan_pages(sources, folder, overwrite=options.overwrite)
    index = plan_index(folder, overwrite=options.overwrite)
    predictor = predictor or load_predictor(options.prediction)
    pages: list[ReportPage] = []
    failures: list[ReportFailure] = []
    for goal in goals:
        if on_begin:
            on_begin(goal.source)
        try:
            page = _report(goal, options, predictor, on_progress)
        except Exception as error:  # one input must not cost the others
            message, code = describe(error)
            failures.append(ReportFailure(goal.source, message, code))
            if on_failure:
                on_failure(failures[-1], error)
            continue
        pages.append(page)
        if on_page:
            on_page(page)
    if not pages:
        return ReportIndex(None, (), tuple(failures))
    title = Path(sources[0]).resolve().name if len(sources) == 1 else f"{len(pages)} videos"
    with ExitStack() as stack:
        with _page(stack, index) as out:
            write_index(out, index, pages, failures, title=title)
        sidecar = stack.enter_context(SidecarWriter(index))
        made = {"product": "index", "vsal": __version__, "pages": [str(page.output) for page in pages]}
        sidecar.write({**made, "failed": [failure.message for failure in failures]})
        sidecar.finish()
    return ReportIndex(index, tuple(pages), tuple(failures))


def _report(
    goal: Goal, options: ReportOptions, predictor: SaliencyPredictor | None, on_progress: OnProgress | None
) -> ReportPage:
    clock, asked = StageClock(), options.prediction
    with open_input(goal.source, asked) as reader:
        check_rate(reader, asked)
        use_threads(asked)
        predictor = predictor or load_predictor(asked)
        check_fit(asked, predictor.model)
        log.info("%s: read by %s (%s)", reader.name, reader.decoder, reader.reason)
        log.info("%s: on %s (%s)", reader.name, predictor.device, predictor.device_reason)
        with (
            no_folders_left_of([goal.output]),
            tempfile.TemporaryDirectory(prefix="vsal-report-") as folder,
            ExitStack() as stack,
        ):
            found = collect(reader, predictor, options, Path(folder), clock=clock, on_progress=on_progress)
            page = ReportPage(
                source=goal.source,
                output=goal.output,
                summary=found.summary,
                picture=found.key_frames[0].picture,
                step=found.step,
                decoder=f"{reader.decoder} ({reader.reason})",
                device=f"{predictor.device} ({predictor.device_reason})",
                precision=f"{predictor.precision} ({predictor.precision_reason})",
                weights=predictor.model.weights.name,
                warnings=(*found.notes, *reader.warnings),
                timings=clock.timings(),
            )
            told = {"product": "report", **_origin(reader, predictor, options), **page.record()}
            with _page(stack, goal.output) as out:
                write_page(out, found, name=goal.source.resolve().name, options=options, origin=told)
            sidecar = stack.enter_context(SidecarWriter(goal.output))
            sidecar.write({**told, "summary": asdict(found.summary)})
            sidecar.finish()
    return page


@contextmanager
def _page(stack: ExitStack, goal: Path) -> Iterator[TextIO]:
    """The text of a page, which appears at its goal when the stack ends."""
    temporary = stack.enter_context(atomic_file(goal))
    with temporary.open("w", encoding="utf-8", newline="\n") as out:
        yield out


def _origin(reader: Source, predictor: SaliencyPredictor, options: ReportOptions) -> dict[str, Any]:
    origin = provenance(reader.info, predictor.model, options.prediction, digest_of(Path(reader.info.path)))
    return {**origin, "options": asdict(options)}
