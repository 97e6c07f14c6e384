"""Turn names in a study into problems and demonstrations: a published set by its name, or the study's own rows.

A trial's identity contains the names and the code that reads the sets (`capo_bench.study.code`). Therefore a trial does
not depend on sets that it does not name.
"""

from __future__ import annotations

from evals.benchmarks import BENCHMARKS, Benchmark
from evals.tasks.demonstrations import DemonstrationSet, load_named_demonstrations
from evals.tasks.row_settings import DEMONSTRATIONS, DemonstrationRows, ProblemRows
from evals.tasks.training_sets import load_named_problems


def find_benchmark(named: str | ProblemRows) -> Benchmark:
    """Return a registered benchmark by its name, or the problems of a study's rows."""
    return BENCHMARKS.get(named) if isinstance(named, str) else load_named_problems(named)


def find_demonstrations(named: str | DemonstrationRows) -> DemonstrationSet:
    """Return a published set of demonstrations by its name, or the demonstrations of a study's rows."""
    return DEMONSTRATIONS.get(named) if isinstance(named, str) else load_named_demonstrations(named)
