"""Times true advantages on coins: 64 rollouts of the cold start, 200 continuations a state, and one by one beside it.

Run with ``python -m benchmarks.values MODEL``, where MODEL is the folder of a coins policy (a trial's ``model/``). The
targets are 3 minutes for 64 rollouts on two cores, a standard error of at most 0.05 for every advantage, and at least 5
times the speed of asking for one continuation after another.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import pairwise

from evals.coins.problems import draw
from evals.coins.solutions import SEPARATOR
from evals.models.base import Sampling
from evals.models.open import open_model
from evals.models.spec import ModelSpec
from evals.values import Counting, SolutionState, count_chances
from evals.verify import Verifier

PROBLEMS, GROUP, SAMPLES, ROOM, ALONE, CORES = 4, 16, 200, 96, 50, 2
TARGET_SECONDS = 180.0


def clock() -> float:
    """Return the seconds that this program has computed for: another's work on the machine does not count."""
    return time.process_time()


def states_of(model: object) -> list[SolutionState]:
    """Return the states of 64 rollouts, from before the first step to before the last."""
    problems = draw("train", PROBLEMS, 0)
    prompts = [model.prompt(problem.prompt) for problem in problems]  # type: ignore[attr-defined]
    sampling = Sampling(1.0, 1.0, ROOM)
    rows = asyncio.run(model.complete(prompts, GROUP, sampling, seed=1))  # type: ignore[attr-defined]
    states = []
    for problem, row in zip(problems, rows, strict=True):
        for completion in row:
            steps = completion.text.split(SEPARATOR)
            for done in range(len(steps)):
                written = "".join(step + SEPARATOR for step in steps[:done])
                states.append(SolutionState(problem.prompt, written, problem.answer, ROOM - 6 * done))
    return states


def main() -> None:
    model = open_model(ModelSpec(model=sys.argv[1]))
    states = states_of(model)
    with Verifier() as verifier:
        began = clock()
        chances = count_chances(model, verifier, states, Counting(SAMPLES))
        together = clock() - began
        error = max((a.error**2 + b.error**2) ** 0.5 for a, b in pairwise(chances))
        distinct = len(set(states))
        print(f"{len(states)} states, {distinct} distinct, {SAMPLES} continuations each: {together:.1f} s of one core")
        print(
            f"{together / CORES / TARGET_SECONDS:.2f} of the target; largest standard error of an advantage {error:.3f}"
        )
        began = clock()
        for number, state in enumerate(states[:: max(len(states) // ALONE, 1)][:ALONE]):
            count_chances(model, verifier, [state], Counting(1, seed=number))
        alone = (clock() - began) / ALONE
    each = together / (distinct * SAMPLES)
    print(f"one by one {1000 * alone:.2f} ms a continuation, together {1000 * each:.3f} ms: {alone / each:.0f} times")


if __name__ == "__main__":
    main()
