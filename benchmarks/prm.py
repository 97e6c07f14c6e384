"""Measure the training time of the embedded process reward model, and its quality on held-out solutions of coins.

    python -m benchmarks.prm [--solutions 600] [--threads 2] [--model FOLDER]

It is trained as in the studies, unless a folder is given. Then it scores three sets of solutions to problems outside
the training data: wrong in every way of its lessons, demonstrations with slips, and those on longer problems. A step is
flagged if its score is below one half; intervals are of 95 %, over whole problems. Times are processor and clock times.
On a shared machine the clock says little; with two threads neither does the processor time, because each thread waits
busily for the other: use one.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers.utils import logging

from capo_bench.run.threads import EMBEDDED_THREADS, set_threads
from evals.coins import COINS
from evals.coins.problems import read
from evals.coins.pupil import draw_pupil
from evals.coins.solutions import attempt
from evals.critics.coins import COINS as DEMONSTRATIONS
from evals.critics.data import Selection
from evals.critics.labels import LabelledSolution, label_exactly
from evals.critics.metrics import ShareEstimate, estimate_area, score_steps
from trainers.prm.config import PrmConfig
from trainers.prm.embedded import train_prm
from trainers.prm.scored import HALF
from trainers.prm.scorer import Scorer


def attempts(count: int) -> list[LabelledSolution]:
    """Return solutions with the errors of the lessons, to problems of the split ``test``."""
    taught, rng, labelled = PrmConfig().embedded, random.Random("attempts"), []
    for problem in COINS.problems("test", count, 0):
        pupil = draw_pupil(taught.misconceptions, taught.slip, rng)
        steps = tuple(attempt(read(problem.prompt), rng, pupil, taught.stray))
        labels = label_exactly(COINS.check_steps(problem, steps), len(steps), problem.id)
        labelled.append(LabelledSolution(problem.id, "test", problem, steps, labels))
    return labelled


def demonstrations(split: str, count: int) -> list[LabelledSolution]:
    return list(DEMONSTRATIONS.load(Selection((split,), limit=count)).solutions)


def print_quality(name: str, solutions: Sequence[LabelledSolution], scorer: Scorer) -> None:
    began, clock = time.process_time(), time.perf_counter()
    scored = scorer.score([(each.problem.prompt, each.steps) for each in solutions])
    took, passed = time.process_time() - began, time.perf_counter() - clock
    both = zip(scored, solutions, strict=True)
    pairs = [(np.array(each.scores), solution.labels) for each, solution in both if each.scores is not None]
    scores = score_steps([row < HALF for row, _ in pairs], [labels for _, labels in pairs])
    doubts = np.concatenate([1 - row for row, _ in pairs])
    wrong = np.concatenate([np.isin(np.arange(labels.steps), list(labels.wrong)) for _, labels in pairs])
    area = estimate_area(doubts, wrong, [labels.group for _, labels in pairs for _ in range(labels.steps)])
    measured = {"precision": scores.precision, "recall": scores.recall, "AUC": area}
    print(f"{name}: {len(pairs)} of {len(solutions)} solutions scored, {scores.steps} steps, {scores.wrong} wrong")
    print("  " + " · ".join(f"{key} {_shown(value)}" for key, value in measured.items()))
    print(f"  {1000 * took / len(pairs):.2f} ms of processor a solution, {1000 * passed / len(pairs):.2f} ms of clock")


def _shown(share: ShareEstimate) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "none"
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def taught(folder: Path, threads: int) -> None:
    config = PrmConfig().embedded
    set_threads(threads)
    began, clock = time.process_time(), time.perf_counter()
    train_prm(config, folder, lambda record: None)
    took, passed = time.process_time() - began, time.perf_counter() - clock
    lessons = config.steps * config.problems_per_step
    print(f"{lessons} lessons, threads: {threads}; {took:.0f} s of processor, {passed:.0f} s by the clock")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--solutions", type=int, default=600)
    parser.add_argument("--threads", type=int, default=EMBEDDED_THREADS)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        if arguments.model is None:
            taught(Path(name), arguments.threads)
        set_threads(EMBEDDED_THREADS)
        scorer = Scorer(PrmConfig(), str(arguments.model or name))
        print(f"{scorer.parameters} parameters; one thread")
        print_quality("lessons' kind", attempts(arguments.solutions), scorer)
        print_quality("demonstrations", demonstrations("test", arguments.solutions), scorer)
        print_quality("longer problems", demonstrations("longer", arguments.solutions), scorer)


if __name__ == "__main__":
    main()
