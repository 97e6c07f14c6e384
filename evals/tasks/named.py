"""From what a study names to problems and demonstrations: a published set by its name, or rows of the study's own.

What is named is in a trial's identity by itself, and so is the code that reads it (`capo_bench.study.code`): a trial
does not depend on sets that it does not name.
"""

from __future__ import annotations

from evals.benchmarks import BENCHMARKS, Benchmark
from evals.tasks.demonstrations import DemonstrationSet, named_demonstrations
from evals.tasks.row_settings import DEMONSTRATIONS, DemonstrationRows, ProblemRows
from evals.tasks.training_sets import named_problems


def benchmark_of(named: str | ProblemRows) -> Benchmark:
    """Return a registered benchmark, or the rows that a study names."""
    return BENCHMARKS.get(named) if isinstance(named, str) else named_problems(named)


def demonstrations_of(named: str | DemonstrationRows) -> DemonstrationSet:
    """Return a published data set by its name, or the rows that a study names."""
    return DEMONSTRATIONS.get(named) if isinstance(named, str) else named_demonstrations(named)
