"""Maps against recorded gaze: from a model, from files, or from what knows nothing.

::

    dataset = open_dataset("gaze")
    chosen = select(dataset, "validation")
    mine = evaluate(dataset, StoredMaps("predictions"), recordings=chosen)
    mine.summaries()["hevc"].over_items["nss"], mine.missing
    compare(evaluate(dataset, Centre(), recordings=chosen), mine).differences()

Maps are scored at the ground truth's size, in floating point where they are stored so.
"""

from __future__ import annotations

from saliency_cli.evaluation.bootstrap import Interval, bootstrap_interval
from saliency_cli.evaluation.comparison import Comparison, Difference, Pair, compare, compare_results, spell_difference
from saliency_cli.evaluation.header import record_scores, spell_scores
from saliency_cli.evaluation.results import PAPER_METRICS, Evaluation, Summary, evaluate, group_items, summarise
from saliency_cli.evaluation.scoring import ItemScores, Negatives, score_item
from saliency_cli.evaluation.selection import default_split, select, splits_of
from saliency_cli.evaluation.sources import Centre, MapSource, Observers, PredictedMaps, Trial
from saliency_cli.evaluation.specs import open_predictions
from saliency_cli.evaluation.stored import StoredMaps

__all__ = [
    "PAPER_METRICS",
    "Centre",
    "Comparison",
    "Difference",
    "Evaluation",
    "Interval",
    "ItemScores",
    "MapSource",
    "Negatives",
    "Observers",
    "Pair",
    "PredictedMaps",
    "StoredMaps",
    "Summary",
    "Trial",
    "bootstrap_interval",
    "compare",
    "compare_results",
    "default_split",
    "evaluate",
    "group_items",
    "open_predictions",
    "record_scores",
    "score_item",
    "select",
    "spell_difference",
    "spell_scores",
    "splits_of",
    "summarise",
]
