"""From completions to samples: the answer by the verifier, the steps by the benchmark's own checker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evals.benchmarks import Benchmark, Problem
from evals.generate import Completion
from evals.metrics import Sample
from evals.verify import Verifier

Cut = Callable[[str], Sequence[str]]
"""Cuts a completion into the texts of its steps."""


def score(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    *,
    benchmark: Benchmark,
    verifier: Verifier,
    cut: Cut,
) -> list[Sample]:
    """Return a sample for each completion.

    Args:
        problems: The problem of each completion; named again for every further sample of it.
        completions: The completions, in the order of `problems`.
        benchmark: Checks the steps.
        verifier: Judges the answers.
        cut: Cuts a completion into steps.
    """
    pairs = [(completion.text, problem.answer) for problem, completion in zip(problems, completions, strict=True)]
    verdicts = verifier.verify(pairs)
    samples: list[Sample] = []
    seen: dict[str, int] = {}
    for problem, completion, verdict in zip(problems, completions, verdicts, strict=True):
        steps = cut(completion.text)
        checked = benchmark.check_steps(problem, steps)
        number = seen[problem.id] = seen.get(problem.id, -1) + 1
        samples.append(
            {
                "problem": problem.id,
                "sample": number,
                "completion": completion.text,
                "correct": verdict.correct,
                "status": verdict.status,
                "tokens": completion.tokens,
                "truncated": completion.truncated,
                "steps": len(steps),
                "wrong_steps": sorted(checked.wrong),
                "follow_steps": sorted(checked.follow),
            }
        )
    return samples
