"""What tracking costs, as a share of a training step of the embedded model.

The worker pays for one message a step over its connection; the runner's process pays for the writer's thread, which
wakes every ten seconds. Run: ``python benchmarks/tracking.py``.
"""

import json
import tempfile
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

from capo_bench.run import wire
from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger
from capo_bench.study.plan import Plan, Trial, Variant
from capo_bench.track.store import Store
from capo_bench.track.study import StudyBook
from trainers.config import TrialConfig

STEP_SECONDS = 0.9
FLUSH_SECONDS = 10.0
STEPS = 220
METRICS = {f"metric_{index}": 0.123456789 * index for index in range(25)}


def worker_seconds() -> float:
    """Return the processor seconds that sending one step's message costs the worker's thread."""
    ours, theirs = Pipe()

    def drain() -> None:
        for _ in range(STEPS):
            wire.receive(theirs)

    reader = threading.Thread(target=drain)
    reader.start()
    began = time.thread_time()
    for step in range(STEPS):
        wire.send(ours, {"kind": "step", "step": step, "of": STEPS, "metrics": METRICS})
    spent = time.thread_time() - began
    reader.join()
    return spent / STEPS


def writer_seconds(folder: Path) -> float:
    """Return the processor seconds that writing one step to a SQLite store costs the runner's process."""
    trial = Trial("trial", "variant", 0, TrialConfig(), {})
    plan = Plan("study", "?", "study.yaml", "quick", "variant", None, ("coins_test/accuracy",),
                (Variant("variant", {}, TrialConfig()),), (trial,))  # fmt: skip
    home = Home(folder)
    store = Store(f"sqlite:///{home.tracking}", home.artifacts, home.tracking)
    book = StudyBook(plan, home, store)
    Ledger(home.study("study").ledger).append("trial_started", trial=trial.id, variant=trial.variant, seed=0)
    home.trial(trial.id).path.mkdir(parents=True)
    spent = 0.0
    per_flush = int(FLUSH_SECONDS / STEP_SECONDS)
    for first in range(1, STEPS + 1, per_flush):
        with home.trial(trial.id).steps.open("a") as file:
            for step in range(first, first + per_flush):
                file.write(json.dumps({"step": step, **{name: step * value for name, value in METRICS.items()}}) + "\n")
        began = time.process_time()
        book.deliver(live=True)
        spent += time.process_time() - began
    return spent / STEPS


def main() -> None:
    sent = worker_seconds()
    with tempfile.TemporaryDirectory() as folder:
        written = writer_seconds(Path(folder))
    print(f"a step of {STEP_SECONDS} s, {len(METRICS)} metrics; target in the worker: at most 1 %")
    print(f"worker, one message a step:      {sent * 1e6:8.0f} µs = {sent / STEP_SECONDS:.4%} of a step")
    print(f"runner, write every {FLUSH_SECONDS:.0f} s:       {written * 1e6:8.0f} µs = {written / STEP_SECONDS:.4%}")


if __name__ == "__main__":
    main()
