"""What the embedded model gains by sound: each clip kept back in turn, with its own, others', and its own moved.

``python benchmarks/sound_study.py GAZE --weights tsfp-lite0.safetensors --soundnet soundnet.safetensors``: a table, and
``benchmarks/results/sound_study.json``. The fusion is trained on all clips with sound but one, as
``recipes/tsfp-lite0-sound.toml`` says, and the one is scored: without sound, in silence (which must be the same), with
its own sound, with each other clip's, and with its own moved by several seconds. A cue that gains over silence with any
sound at all has learnt nothing of sound: own sound counts as far as it beats the others' and the shifted one. What the
weights themselves learnt from these clips' pictures flatters all alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import harness

harness.one_core()

import cv2  # noqa: E402 (one_core comes before what starts threads)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from torch import Tensor  # noqa: E402

from saliency_cli.errors import UsageError  # noqa: E402
from saliency_cli.metrics import SIGMA_VIDEO, GazeTable, active, density_map, fixation_counts, score_stack  # noqa: E402
from saliency_cli.models.checkpoint import load_strictly, read_checkpoint  # noqa: E402
from saliency_cli.models.config import ModelConfig  # noqa: E402
from saliency_cli.models.soundnet import soundnet_state  # noqa: E402
from saliency_cli.models.streaming import MAP_HALF_LIFE, StreamingTSFPNet  # noqa: E402
from saliency_cli.models.streaming_sound import SOUND_GRID, instant_before  # noqa: E402
from saliency_cli.training.recipe import load_recipe  # noqa: E402
from saliency_cli.training.streaming import StreamingTrainer, TrainingData  # noqa: E402
from saliency_cli.training.streaming_data import Clip, load_clips  # noqa: E402
from saliency_cli.training.streaming_recipe import StreamingRecipe  # noqa: E402
from saliency_cli.training.streaming_sound import Hearing, heard_at, hearing_of, sound_of  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SHIFTS = (4.8, 8.0)  # seconds, multiples of the grid
METRICS = ("nss", "cc")
AT_ONCE = 32  # frames
NO_SOUND, OWN, OTHERS, SHIFTED = "no sound", "own", "others'", "shifted"

Scores = dict[str, float]


class Witness:
    """A clip, every so many of its frames, as the network sees and hears it; and what it is scored against."""

    def __init__(self, model: StreamingTSFPNet, clip: Clip, every: int, recipe: StreamingRecipe) -> None:
        taken = slice(0, None, every)
        self.clip = replace(
            clip,
            frames=clip.frames[taken],
            seconds=clip.seconds[taken],
            motion=clip.motion[taken],
            since=clip.since[taken],
        )
        self.hearing = hearing_of(model, self.clip, input_size=recipe.input_size)
        self.instants = np.array([round(instant_before(float(at)) / SOUND_GRID) for at in self.clip.seconds])
        self.first, self.last = int(self.instants.min()), int(self.instants.max())
        times = np.arange(self.first, self.last + 1) * SOUND_GRID
        self.track = heard_at(sound_of(model), clip.sound, times)  # (instants, 1024)
        height, width = clip.frames[0].shape[:2]
        counts = [fixation_counts(active(clip.fixations, float(at)), height, width) for at in self.clip.seconds]
        self.watched = np.array([each.any() for each in counts])
        self.counts = np.stack(counts)[self.watched]
        self.density = np.stack([density_map(each, height * SIGMA_VIDEO) for each in self.counts])

    def with_track(self, track: Tensor, shift: float = 0.0) -> Tensor:
        """What is heard at each frame of a track that begins with this clip, moved, and round again at its end."""
        moved = self.instants - self.first + round(shift / SOUND_GRID)
        return track[torch.from_numpy(moved % len(track))]

    def score(self, model: StreamingTSFPNet, heard: Tensor | None) -> Scores:
        """NSS and CC over all frames, of maps as ``vsal predict`` makes them."""
        height, width = self.counts.shape[1:]
        maps = [cv2.resize(one, (width, height)) for one in self._maps(model, heard)]
        stack = np.stack(maps)[self.watched]
        found = score_stack(stack, self.counts, self.density, metrics=METRICS)
        return {name: float(np.nanmean(values)) for name, values in found.items()}

    def _maps(self, model: StreamingTSFPNet, heard: Tensor | None) -> Iterator[NDArray[np.float32]]:
        smooth: NDArray[np.float32] | None = None
        densities = self._densities(model, heard)
        steps = np.diff(self.clip.seconds, prepend=self.clip.seconds[0])
        for one, step, since in zip(densities, steps, self.clip.since, strict=True):
            share = np.float32(1 - 2 ** (-step / MAP_HALF_LIFE))
            smooth = one if smooth is None or since <= 0 else smooth + share * (one - smooth)
            yield smooth

    @torch.inference_mode()
    def _densities(self, model: StreamingTSFPNet, heard: Tensor | None) -> NDArray[np.float32]:
        result = []
        for begin in range(0, len(self.hearing.logits), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            logits = self.hearing.logits[part]
            if heard is not None:
                logits = sound_of(model)(logits, self.hearing.level3[part], heard[part])
            result.append(logits.flatten(1).softmax(1).view_as(logits)[:, 0])
        return torch.cat(result).numpy()


def trained(
    recipe: StreamingRecipe, hearings: list[Hearing], state: dict[str, Tensor], ears: dict[str, Tensor]
) -> StreamingTSFPNet:
    """The network whose fusion learnt from these clips."""
    with tempfile.TemporaryDirectory() as folder:
        data = TrainingData([], [], hearings)
        trainer = StreamingTrainer(recipe, data, Path(folder), state=state, soundnet_state=ears)
        trainer.model.load_state_dict(trainer.run())
    return trainer.model.eval()


def sounds(witness: Witness, all_of_them: Sequence[Witness]) -> Iterator[tuple[str, Tensor]]:
    """What a clip is scored with: kind and features."""
    yield OWN, witness.with_track(witness.track)
    yield from ((OTHERS, witness.with_track(other.track)) for other in all_of_them if other is not witness)
    yield from ((SHIFTED, witness.with_track(witness.track, shift)) for shift in SHIFTS)


def study(
    witnesses: Sequence[Witness],
    recipe: StreamingRecipe,
    state: dict[str, Tensor],
    ears: dict[str, Tensor],
    seeds: int,
) -> dict[str, dict[str, list[Scores]]]:
    """Scores by clip and kind of sound: one for each seed, and none that depends on it without sound."""
    result: dict[str, dict[str, list[Scores]]] = {}
    for witness in witnesses:
        rows: dict[str, list[Scores]] = {}
        others = [other.hearing for other in witnesses if other is not witness]
        for seed in range(1, seeds + 1):
            model = trained(replace(recipe, seed=seed), others, state, ears)
            without = rows.setdefault(NO_SOUND, [witness.score(model, None)])[0]
            if seed == 1 and witness.score(model, torch.zeros_like(witness.hearing.heard)) != without:
                raise AssertionError("silence changes the maps")
            found: dict[str, list[Scores]] = {}
            for kind, heard in sounds(witness, witnesses):
                found.setdefault(kind, []).append(witness.score(model, heard))
            for kind, scores in found.items():
                rows.setdefault(kind, []).append({name: statistics.fmean(s[name] for s in scores) for name in METRICS})
            print(f"{witness.clip.name}, seed {seed}: gain {sound_of(model).gain.item():+.4f}", flush=True)
        result[witness.clip.name] = rows
    return result


def changes(rows: Mapping[str, Sequence[Scores]], kind: str, name: str) -> list[float]:
    """By how much a kind of sound changes a score, for each seed."""
    return [scores[name] - rows[NO_SOUND][0][name] for scores in rows[kind]]


def table(result: Mapping[str, Mapping[str, Sequence[Scores]]]) -> dict[str, dict[str, float]]:
    """Print the scores without sound and what each kind of sound changes; the means of the changes over the clips."""
    kinds = (OWN, OTHERS, SHIFTED)
    print(f"\n{'':12}{'NSS':>8}{'CC':>8}" + "".join(f"{kind + ' NSS':>18}{'CC':>9}" for kind in kinds))
    means: dict[str, dict[str, float]] = {}
    for clip, rows in result.items():
        line = "".join(f"{rows[NO_SOUND][0][name]:8.3f}" for name in METRICS)
        for kind in kinds:
            nss = changes(rows, kind, "nss")
            spread = statistics.stdev(nss) if len(nss) > 1 else 0.0
            line += f"{statistics.fmean(nss):+10.3f} ±{spread:.3f} {statistics.fmean(changes(rows, kind, 'cc')):+9.3f}"
        print(f"{clip:12}{line}")
    for kind in kinds:
        means[kind] = {
            name: round(statistics.fmean(statistics.fmean(changes(rows, kind, name)) for rows in result.values()), 4)
            for name in METRICS
        }
    print(f"{'mean':28}" + "".join(f"{means[kind]['nss']:+10.3f}{'':8}{means[kind]['cc']:+9.3f}" for kind in kinds))
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gaze", type=Path, help="a folder of gaze tables, with videos that have sound")
    parser.add_argument("--weights", required=True, help="of the embedded model; its pictures and motion are used")
    parser.add_argument("--soundnet", required=True, help="SoundNet's weights")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "tsfp-lite0-sound.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes of the recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=3, help="of how many frames one is learnt from and scored")
    parser.add_argument("--name", default="sound_study", help="of the file in results/")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    recipe = load_recipe(given.recipe, given.set)
    if not isinstance(recipe, StreamingRecipe) or recipe.stages != (recipe.sound,):
        raise UsageError(f"{given.recipe}: the study needs a recipe with [sound] alone.")
    checkpoint = read_checkpoint(given.weights)
    config = ModelConfig.from_metadata(checkpoint.metadata, source=given.weights)
    ears = soundnet_state(read_checkpoint(given.soundnet).state)
    model = StreamingTSFPNet(lateral_channels=config.lateral_channels, audio=True)
    visual = {name: value for name, value in checkpoint.state.items() if not name.startswith("sound.")}
    fresh = {name: value for name, value in model.state_dict().items() if name.startswith("sound.")}
    load_strictly(model, {**visual, **fresh}, given.weights)
    load_strictly(sound_of(model).soundnet, ears, given.soundnet)
    gaze = GazeTable.load(given.gaze)
    clips = [clip for clip in load_clips(gaze, gaze.items("find"), sound=True) if clip.sound is not None]
    witnesses = [Witness(model.eval(), clip, given.every, recipe) for clip in clips]
    print(f"{len(witnesses)} clips with sound, {sum(len(w.clip.seconds) for w in witnesses)} frames", flush=True)
    result = study(witnesses, recipe, visual, ears, given.seeds)
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": harness.describe_machine(("numpy", "torch")),
        "weights": Path(given.weights).name,
        "recipe": recipe.text,
        "seeds": given.seeds,
        "every": given.every,
        "shifts": SHIFTS,
        "mean_changes": table(result),
        "scores": result,
    }
    harness.RESULTS.mkdir(exist_ok=True)
    path = harness.RESULTS / f"{given.name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
