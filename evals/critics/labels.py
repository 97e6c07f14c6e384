"""Define the labels of a solution's steps: wrong, right or unlabelled."""

from __future__ import annotations

from dataclasses import dataclass

from evals.benchmarks import Problem, StepCheck


@dataclass(frozen=True)
class StepLabels:
    """Labels of one solution's steps, numbered from 0.

    Attributes:
        steps: Number of steps.
        labelled: Steps with a label, right or wrong; only they count in metrics of steps.
        group: Group of correlated solutions, usually the problem: intervals resample whole groups. A solution with an
            empty group is a group of its own.
    """

    steps: int
    wrong: frozenset[int]
    labelled: frozenset[int]
    group: str = ""

    def __post_init__(self) -> None:
        outside = [step for step in self.labelled if not 0 <= step < self.steps]
        if outside or not self.wrong <= self.labelled:
            raise ValueError(
                f"wrong steps {sorted(self.wrong)}, labelled steps {sorted(self.labelled)} of {self.steps}: "
                "wrong steps are labelled ones, and labelled ones are steps, numbered from 0"
            )


def label_exactly(check: StepCheck, steps: int, group: str = "") -> StepLabels:
    """Return the labels of an exact checker: every step has one; a step that merely follows an error is right."""
    return StepLabels(steps, check.wrong, frozenset(range(steps)), group)


@dataclass(frozen=True)
class LabelledSolution:
    """One solution of a data set with step labels.

    Attributes:
        problem: The problem; its answer is empty if the data set has no reference answers.
    """

    id: str
    subset: str
    problem: Problem
    steps: tuple[str, ...]
    labels: StepLabels
