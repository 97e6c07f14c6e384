"""A benchmark small enough to check by eye."""

from __future__ import annotations

import pytest

from evals.benchmarks import Problem, StepCheck


class Sums:
    """Each step reads ``a+b=c``; a step that ends in ``~`` rests on an earlier slip and is right in itself."""

    name = "sums"
    splits = ("test",)

    def problems(self, split, count, seed=0):
        return [Problem(f"sums/{split}/{number}", f"add {number}", str(number)) for number in range(count)]

    def check_steps(self, problem, steps):
        wrong = {place for place, step in enumerate(steps) if not self._holds(step)}
        follow = {place for place, step in enumerate(steps) if step.endswith("~")} - wrong
        return StepCheck(frozenset(wrong), frozenset(follow))

    def fingerprint(self):
        return "sums"

    @staticmethod
    def _holds(step):
        terms, _, total = step.rstrip("~").partition("=")
        return total.isdigit() and sum(map(int, terms.split("+"))) == int(total)


@pytest.fixture(scope="session")
def sums():
    return Sums()
