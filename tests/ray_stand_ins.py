"""What the workers of a Ray cluster do in tests; and such a cluster, with a batch on it, as a program.

``python ray_stand_ins.py FOLDER`` starts a head and two nodes on this machine and runs the batch FOLDER/in to
FOLDER/out. It prints what came out as JSON, the last line of what it prints.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from batch_stand_ins import load_fake

from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.errors import ReadError
from saliency_cli.options import PredictOptions

__all__ = ["load_fatal"]

OnProgress = Callable[[int, int | None], None]


def load_fatal(options: PredictOptions, device: str | None, threads: int | None, /) -> Callable[..., Outcome]:
    """As ``load_fake``; besides, a text may have its actor or its node killed, at the first time, or wait for others.

    Every try leaves a line in the file ``tries``: item and whether it is known to be another try.
    """
    predict = load_fake(options, device, threads)

    def run(job: Job, on_progress: OnProgress, /) -> Outcome:
        output = job.folder.parent
        tries = output / "tries"
        with tries.open("a") as file:
            file.write(json.dumps([job.item, job.redone]) + "\n")
        first = [json.loads(line)[0] for line in tries.read_text().splitlines()].count(job.item) == 1
        text = job.source.read_text()
        if text.startswith("kill the") and first:
            job.folder.mkdir(parents=True, exist_ok=True)
            (job.folder / f".vsal-{job.mark}-half.txt").write_text("half")
            actor = os.getppid()
            victim = actor if text == "kill the actor" else _parent(actor)
            os.kill(victim, signal.SIGKILL)
            time.sleep(60)
        if text == "wait":
            _wait_for_a_record(output)
        return predict(job, on_progress)

    return run


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _wait_for_a_record(output: Path) -> None:
    """Until the ledger has an outcome of another item."""
    ledger = next(output.glob("vsal-ledger*.jsonl"))
    for _ in range(1500):
        if '"record": "done"' in ledger.read_text():
            return
        time.sleep(0.02)
    raise ReadError("the others' outcomes were not written down while this job was running.")


def main() -> None:
    from ray.cluster_utils import Cluster

    from saliency_cli.batch import running
    from saliency_cli.batch.ray_engine import run_on_ray

    setattr(running, "_weights_sha256", lambda options: "0" * 64)  # noqa: B010 - spares torch
    folder = Path(sys.argv[1])
    common = {"object_store_memory": 80 * 2**20, "include_log_monitor": False, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **common})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **common)
        order: list[str] = []
        report = running.run_batch(
            folder / "in",
            folder / "out",
            PredictOptions(threads=1),
            engine=partial(run_on_ray, address=cluster.address, load=load_fatal),
            on_outcome=lambda outcome: order.append(outcome.item),
        )
        print(json.dumps({"order": order, "done": [each.record() for each in report.done]}))
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    from ray_stand_ins import main as imported  # so that load_fatal is known under a name that workers can import

    imported()
