"""Stacks of maps have the scores of their maps."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from saliency_cli.errors import UsageError
from saliency_cli.metrics import (
    MetricName,
    auc_judd,
    auc_shuffled,
    cc,
    information_gain,
    kl,
    nss,
    score_stack,
    sim,
    stacks,
)

COUNT, SHAPE = 7, (14, 19)
METRICS: tuple[MetricName, ...] = get_args(MetricName)


def arrays() -> dict[str, Any]:
    """Seven maps with all that they are scored against; some of them have no scores, or few."""
    generator = np.random.default_rng(5)
    stack = (COUNT, *SHAPE)
    made: dict[str, Any] = {
        "predictions": generator.random(stack, np.float32),
        "fixations": generator.poisson(0.05, stack),
        "densities": generator.random(stack),
        "other": generator.random(stack) < 0.2,
        "baseline": generator.random(stack),
    }
    made["fixations"][1] = 0
    made["densities"][1] = 0
    made["predictions"][2] = 0.3
    made["predictions"][3] = 0
    made["densities"][4] = 0.1
    made["other"][5] = False
    made["baseline"][6] = 1
    return made


def one_by_one(made: dict[str, Any], *, seed: int) -> dict[MetricName, list[float]]:
    rows: dict[MetricName, list[float]] = {metric: [] for metric in METRICS}
    other, baseline = (np.broadcast_to(made[name], (COUNT, *SHAPE)) for name in ("other", "baseline"))
    for index in range(COUNT):
        prediction, fixations = made["predictions"][index], made["fixations"][index]
        density = made["densities"][index]
        rows["nss"].append(nss(prediction, fixations))
        rows["cc"].append(cc(prediction, density))
        rows["sim"].append(sim(prediction, density))
        rows["kl"].append(kl(prediction, density))
        rows["auc_judd"].append(auc_judd(prediction, fixations, seed=seed + index))
        rows["auc_shuffled"].append(auc_shuffled(prediction, fixations, other[index], seed=seed + index))
        rows["information_gain"].append(information_gain(prediction, fixations, baseline[index]))
    return rows


@pytest.mark.parametrize("together", [1, 3, 100])
@pytest.mark.parametrize("shared", [False, True])
def test_a_stack_has_the_scores_of_its_maps(monkeypatch: pytest.MonkeyPatch, together: int, shared: bool) -> None:
    monkeypatch.setattr(stacks, "CHUNK", together * SHAPE[0] * SHAPE[1])
    made = arrays()
    if shared:
        made |= {name: made[name][0] for name in ("other", "baseline")}
    before = {name: array.copy() for name, array in made.items()}
    scores = score_stack(**made, metrics=METRICS, seed=3)
    expected = one_by_one(made, seed=3)
    assert list(scores) == list(METRICS)
    for metric, values in scores.items():
        np.testing.assert_allclose(values, expected[metric], rtol=1e-12, atol=1e-15, err_msg=metric)
        assert 0 < np.isfinite(values).sum() < COUNT or metric == "auc_judd"
    for name, array in made.items():
        np.testing.assert_array_equal(array, before[name])


def test_only_what_is_asked_for_is_needed() -> None:
    made = arrays()
    assert list(score_stack(made["predictions"], made["fixations"], metrics=("auc_judd", "nss"))) == ["auc_judd", "nss"]
    for metric in ("cc", "sim", "kl", "auc_shuffled", "information_gain"):
        with pytest.raises(UsageError, match=f"{metric} needs more"):
            score_stack(made["predictions"], made["fixations"], metrics=(metric,))


def test_bad_stacks() -> None:
    made = arrays()
    with pytest.raises(ValueError, match="must be a stack of shape"):
        score_stack(made["predictions"][0], made["fixations"][0], metrics=("nss",))
    for name in ("fixations", "densities", "other", "baseline"):
        with pytest.raises(ValueError, match=f"{name}.*differ in size"):
            score_stack(**{**made, name: made[name][:, :-1]})
    for name in ("predictions", "densities", "baseline"):
        broken = made[name].copy()
        broken[-1, 0, 0] = np.nan
        with pytest.raises(ValueError, match=f"the {name} hold values that are not finite"):
            score_stack(**{**made, name: broken}, metrics=METRICS)
    with pytest.raises(ValueError, match="negative"):
        score_stack(made["predictions"] - 1, made["fixations"], made["densities"], metrics=("kl",))
