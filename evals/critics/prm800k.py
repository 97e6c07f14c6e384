"""PRM800K: steps of one model's solutions, rated by people while they chose how each solution goes on.

Lightman et al., arXiv 2305.20050. The ratings of a problem form a tree: at each step some alternatives are rated and
one is gone on with. Every way from the root to a leaf is a solution here, the longest first, and every rating counts
once: in the first solution that has its step. So the solution that was gone on with has all its labels, and an
alternative brings the label of its own last step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from evals.benchmarks import Problem
from evals.critics.data import Loaded, Selection, checked_subsets, drawn
from evals.critics.labels import LabelledSolution, StepLabels
from evals.critics.prm800k_layouts import Rated, rated_steps
from evals.tasks.rows import DataErrors, Flaws, Row, data_files, hub_rows, read_rows

SUBSETS = ("test", "train")
Way = tuple[str, ...]


@dataclass
class _Tree:
    """The rated steps of one problem: each by the way to it, the step itself last."""

    answer: str = ""
    ratings: dict[Way, set[int]] = field(default_factory=dict)

    def add(self, step: Rated) -> None:
        self.answer = self.answer or step.answer
        ratings = self.ratings.setdefault((*step.before, step.text), set())
        ratings |= set() if step.rating is None else {step.rating}

    def leaves(self) -> list[Way]:
        """Return the whole ways, longest first."""
        inner = {way[:length] for way in self.ratings for length in range(1, len(way))}
        return sorted((way for way in self.ratings if way not in inner), key=len, reverse=True)


class RatedSteps:
    """Splits ``test`` (default) and ``train``; layouts in `prm800k_layouts`, told apart by their columns."""

    name = "prm800k"
    benchmark: str | None = None
    first_error = False
    hub = "Birchlabs/openai-prm800k-stepwise-critic"

    def load(self, selection: Selection) -> Loaded:
        """Load solutions from local files or the hub."""
        flaws: Flaws = []
        splits = checked_subsets(self.name, selection.subsets or ("test",), SUBSETS)
        solutions = []
        for split in splits:
            steps = rated_steps(self._rows(split, selection, flaws), flaws)
            solutions += list(_solutions(steps, split, selection.neutral == "right"))
        if flaws:
            raise DataErrors(flaws)
        return Loaded(drawn(solutions, selection.limit, selection.seed), source=str(selection.source or self.hub))

    def _rows(self, split: str, selection: Selection, flaws: Flaws) -> list[Row]:
        if selection.source is None:
            return hub_rows(self.hub, split, flaws)
        files = data_files(selection.source, self.name, split, alone=True)
        if not files:
            flaws.append(
                f"--data-dir {selection.source}: no file of {self.name} with {split!r} in its name "
                "(.json, .jsonl or .parquet), nor one file alone; name the file itself"
            )
        return [row for file in files for row in read_rows(file, flaws)]


def _solutions(steps: Sequence[Rated], split: str, neutral_is_right: bool) -> Iterator[LabelledSolution]:
    trees: dict[str, _Tree] = {}
    for step in steps:
        trees.setdefault(step.problem, _Tree()).add(step)
    for number, (prompt, tree) in enumerate(trees.items()):
        problem = Problem(f"prm800k/{split}/{number}", prompt, tree.answer)
        counted: set[Way] = set()
        for leaf, way in enumerate(tree.leaves()):
            labels = _labels(way, tree, counted, neutral_is_right, problem.id)
            if labels.labelled:
                yield LabelledSolution(f"{problem.id}/{leaf}", split, problem, way, labels)


def _labels(way: Way, tree: _Tree, counted: set[Way], neutral_is_right: bool, group: str) -> StepLabels:
    """Return the labels of a way's steps that no earlier way had; what raters disagree on has none."""
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
