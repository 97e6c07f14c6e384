r"""A study's accuracies on several benchmarks in two numbers: their mean, and their interquartile mean.

The accuracy of seed s on task t is x_st, the mean over the task's problems. Over S seeds and T tasks the two are the
mean of all x_st, to which each task counts alike, and the mean of the middle half of them (Agarwal et al., 2021,
arXiv 2108.13264). The half is exact: the values at its edges count in part, where `scipy.stats.trim_mean`, and rliable
with it, cuts whole ones; with a multiple of four both are the same.

Intervals are percentiles of a bootstrap. A resample draws seeds once for all tasks, as they share the trained policy,
and problems within each task, the same ones for all variants of the same seeds and problems; a difference is taken
within each resample. With few seeds they are too narrow (docs/statistics.md), and nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise

import numpy as np
from numpy.typing import NDArray

from capo_bench.report.resample import drawn
from capo_bench.report.stats import LEVEL, Layout, Matrix


@dataclass(frozen=True)
class Combined:
    """Over seeds and tasks, or the difference of two such: each a value and the ends of its 95 % interval.

    Attributes:
        mean: Mean of all.
        iqm: Mean of the middle half.
        seeds: S, those with every task.
        problems: Problems of each task.
    """

    mean: tuple[float, float, float]
    iqm: tuple[float, float, float]
    seeds: int
    problems: tuple[int, ...]


@dataclass(frozen=True)
class Overall:
    """One variant over all tasks; `versus` is the paired difference to its baseline, None where there is none."""

    value: Combined
    versus: Combined | None = None


@dataclass(frozen=True, eq=False)
class Names:
    """What is drawn from: S seeds with every task, and the P_t problems of each task."""

    seeds: tuple[int, ...]
    problems: tuple[tuple[str, ...], ...]

    @property
    def enough(self) -> bool:
        """Whether a draw can differ from another, so that there is an interval."""
        return len(self.seeds) > 1 or (len(self.seeds) == 1 and max(map(len, self.problems)) > 1)


@dataclass(frozen=True, eq=False)
class Runs:
    """Scores of a variant on each task, shape (S, P_t); NaN where a sample could not be scored."""

    names: Names
    tasks: tuple[Matrix, ...]


def overall(scores: Mapping[str, Sequence[Layout]], against: Mapping[str, str]) -> dict[str, Overall]:
    """Combine every variant's tasks.

    Args:
        scores: Variant to its scores on each task, as many for every variant.
        against: Variant to the one that it is compared with.

    Returns:
        Variant to its numbers, without those of which no seed has every task.
    """
    grid = Grid(scores)
    values = {name: runs for name in scores if (runs := grid.runs(name)).names.enough}
    pairs = {
        name: (grid.runs(name, base), grid.runs(base, name))
        for name, base in against.items()
        if name in values and base in values
    }
    pairs = {name: pair for name, pair in pairs.items() if pair[0].names.enough}
    draws = resampled([*values.values(), *(runs for pair in pairs.values() for runs in pair)])
    versus = {name: combined(ours.names, draws[ours] - draws[theirs]) for name, (ours, theirs) in pairs.items()}
    return {name: Overall(combined(runs.names, draws[runs]), versus.get(name)) for name, runs in values.items()}


def combined(names: Names, draws: Matrix) -> Combined:
    """Return values and the percentiles of their resamples; those that drew nothing but gaps are left out.

    Args:
        names: What was drawn from.
        draws: Mean and interquartile mean, shape (2, 1 + R): as they are, then of each resample.
    """
    kept = draws[:, ~np.isnan(draws).any(axis=0)]
    low, high = np.quantile(kept[:, 1:], [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=1)
    mean, iqm = ((float(value), float(a), float(b)) for value, a, b in zip(kept[:, 0], low, high, strict=True))
    return Combined(mean, iqm, len(names.seeds), tuple(map(len, names.problems)))


def interquartile_mean(values: Matrix) -> float:
    """Return the mean of the middle half of all the numbers; those at its edges count in part."""
    return float(middle(values.size) @ np.sort(values, axis=None))


def middle(count: int) -> Matrix:
    """Return how much each of `count` sorted numbers counts in their interquartile mean; 1 together."""
    rank = np.arange(count)
    inside = np.minimum(rank + 1, 0.75 * count) - np.maximum(rank, 0.25 * count)
    return np.asarray(np.clip(inside, 0, None) / (0.5 * count))


def resampled(runs: Sequence[Runs]) -> dict[Runs, Matrix]:
    """Return mean and interquartile mean of each of the runs, shape (2, 1 + R): as they are, then of each resample.

    Runs of the same seeds and problems are resampled alike, and multiplied out together: many small products keep
    the processor waiting for its threads.
    """
    alike: dict[Names, dict[Runs, None]] = {}
    for one in runs:
        alike.setdefault(one.names, {})[one] = None
    return {
        one: draws
        for names, group in alike.items()
        for one, draws in zip(group, _drawn_alike(names, [*group]), strict=True)
    }


def _drawn_alike(names: Names, group: Sequence[Runs]) -> Iterator[Matrix]:
    # A first draw of everything once is the data as they are.
    by_seed, *by_problem = (np.vstack([np.ones(n.shape[1]), n]) for n in drawn((names.seeds, *names.problems)))
    each = [_task_means(np.stack([runs.tasks[t] for runs in group]), times) for t, times in enumerate(by_problem)]
    picked = _picked(by_seed) * len(by_seed) + np.arange(len(by_seed))
    inside = middle(len(each) * len(names.seeds))
    for number in range(len(group)):
        tasks = np.stack([means[number].ravel() for means in each])[:, picked].reshape(len(inside), -1)
        yield np.stack([tasks.mean(axis=0), np.einsum("n,nr->r", inside, np.sort(tasks, axis=0))])


def _task_means(values: NDArray[np.float64], times: Matrix) -> NDArray[np.float64]:
    """Return each seed's mean in each draw of problems, shape (V, S, 1 + R); NaN where it drew no known one.

    Args:
        values: Shape (V, S, P).
        times: How often each draw has each problem, shape (1 + R, P).
    """
    flat = values.reshape(-1, values.shape[2])
    known = ~np.isnan(flat)
    if known.all():
        means = flat @ (times.T / values.shape[2])
    else:
        with np.errstate(invalid="ignore"):
            means = (np.where(known, flat, 0.0) @ times.T) / (known.astype(float) @ times.T)
    return np.asarray(means.reshape(*values.shape[:2], len(times)))


def _picked(by_seed: Matrix) -> NDArray[np.int64]:
    """Return the seeds of each draw, shape (S, 1 + R), from how often it has each, shape (1 + R, S)."""
    resamples, seeds = by_seed.shape
    return np.repeat(np.tile(np.arange(seeds), resamples), by_seed.astype(int).ravel()).reshape(resamples, seeds).T


class Grid:
    """All variants on all seeds and problems of the study, so that what two of them share is a matter of two masks."""

    def __init__(self, scores: Mapping[str, Sequence[Layout]]) -> None:
        every = [*zip(*scores.values(), strict=True)]
        self._seeds = sorted(set[int]().union(*(one.seeds for task in every for one in task)))
        self._problems = [sorted(set[str]().union(*(one.problems for one in task))) for task in every]
        ends = np.cumsum([0, *map(len, self._problems)])
        self._spans = [slice(*span) for span in pairwise(ends)]
        self._places = [{name: place for place, name in enumerate(names)} for names in self._problems]
        self._cells = {name: self._side_by_side(tasks) for name, tasks in scores.items()}
        self._known = {name: ~np.isnan(cells) for name, cells in self._cells.items()}
        self._runs: dict[tuple[str, bytes], Runs] = {}
        self._names: dict[bytes, Names] = {}

    def runs(self, name: str, other: str | None = None) -> Runs:
        """Return a variant's runs, on the cells that another one has, too, if one is named; the same for the same."""
        known = self._known[name] if other is None else self._known[name] & self._known[other]
        key = name, known.tobytes()
        if key not in self._runs:
            self._runs[key] = self._without_gaps(self._cells[name], known)
        return self._runs[key]

    def _side_by_side(self, tasks: Sequence[Layout]) -> Matrix:
        """Return the cells of all tasks side by side, shape (S, P_1 + … + P_T)."""
        cells = np.full((len(self._seeds), self._spans[-1].stop), np.nan)
        for one, places, span in zip(tasks, self._places, self._spans, strict=True):
            rows, columns = map(self._seeds.index, one.seeds), map(places.__getitem__, one.problems)
            cells[:, span][np.ix_([*rows], [*columns])] = one.values
        return cells

    def _without_gaps(self, cells: Matrix, known: NDArray[np.bool_]) -> Runs:
        """Leave out the seeds that lack a task, and then the problems of which nothing is known."""
        rows = np.logical_and.reduce([known[:, span].any(axis=1) for span in self._spans])
        seen = known[rows].any(axis=0)
        key = rows.tobytes() + seen.tobytes()
        if key not in self._names:
            problems = (compress(names, seen[span]) for names, span in zip(self._problems, self._spans, strict=True))
            self._names[key] = Names(tuple(compress(self._seeds, rows)), tuple(map(tuple, problems)))
        values = np.where(known, cells, np.nan)[rows]
        return Runs(self._names[key], tuple(values[:, span][:, seen[span]] for span in self._spans))
