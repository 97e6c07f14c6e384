"""Load PRM800K: steps of one model's solutions, rated by people who also chose how each solution continues.

Lightman et al., arXiv 2305.20050. The ratings of a problem form a tree: at each step some alternatives are rated, and
one of them is continued. Here every path from the root to a leaf is a solution, the longest first. Every rating counts
once, in the first solution that contains its step. Therefore the continued solution has all its labels, and an
alternative has only the label of its own last step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from evals.benchmarks import Problem
from evals.critics.data import PublishedSteps, Selection
from evals.critics.labels import LabelledSolution, StepLabels
from evals.critics.prm800k_layouts import Rated, read_rated_steps
from evals.tasks.rows import Flaws, Row

SUBSETS = ("test", "train")
Way = tuple[str, ...]


@dataclass
class _Tree:
    """The rated steps of one problem. Each is identified by the path to it, which ends with the step itself."""

    answer: str = ""
    ratings: dict[Way, set[int]] = field(default_factory=dict)

    def add(self, step: Rated) -> None:
        self.answer = self.answer or step.answer
        ratings = self.ratings.setdefault((*step.before, step.text), set())
        ratings |= set() if step.rating is None else {step.rating}

    def leaves(self) -> list[Way]:
        """Return the complete paths, longest first."""
        inner = {way[:length] for way in self.ratings for length in range(1, len(way))}
        return sorted((way for way in self.ratings if way not in inner), key=len, reverse=True)


class RatedSteps(PublishedSteps):
    """Splits ``test`` (default) and ``train``; the columns of a row decide its layout (`prm800k_layouts`)."""

    name = "prm800k"
    hub = "Birchlabs/openai-prm800k-stepwise-critic"
    subsets = SUBSETS
    default = ("test",)

    def label(self, rows: Sequence[Row], subset: str, selection: Selection, flaws: Flaws) -> Iterable[LabelledSolution]:
        """Return the solutions of the rated steps."""
        return _build_solutions(read_rated_steps(rows, flaws), subset, selection.neutral == "right")


def _build_solutions(steps: Sequence[Rated], split: str, neutral_is_right: bool) -> Iterator[LabelledSolution]:
    trees: dict[str, _Tree] = {}
    for step in steps:
        trees.setdefault(step.problem, _Tree()).add(step)
    for number, (prompt, tree) in enumerate(trees.items()):
        problem = Problem(f"prm800k/{split}/{number}", prompt, tree.answer)
        counted: set[Way] = set()
        for leaf, way in enumerate(tree.leaves()):
            labels = _label_way(way, tree, counted, neutral_is_right, problem.id)
            if labels.labelled:
                yield LabelledSolution(f"{problem.id}/{leaf}", split, problem, way, labels)


def _label_way(way: Way, tree: _Tree, counted: set[Way], neutral_is_right: bool, group: str) -> StepLabels:
    """Return the labels of a path's steps that no earlier path contains; a step with different ratings has no label."""
    ways = [way[: length + 1] for length in range(len(way))]
    ratings = {
        step: next(iter(rated))
        for step, inner in enumerate(ways)
        if inner not in counted and len(rated := tree.ratings.get(inner, set())) == 1
    }
    counted.update(ways)
    kept = {step: rating for step, rating in ratings.items() if rating or neutral_is_right}
    wrong = frozenset(step for step, rating in kept.items() if rating < 0)
    return StepLabels(len(way), wrong, frozenset(kept), group)


PRM800K = RatedSteps()
