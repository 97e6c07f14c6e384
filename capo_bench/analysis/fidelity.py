"""How near a method's credit comes to the true advantages of steps: signs, ranks, what it explains, what it wastes.

A step matters if its true advantage is above a stated bound, |A| > bound. Of the steps of stored rollouts:

``sign``
    Share of the steps that matter to which the credit gives the sign of A; no credit (0) is no agreement.
``rank``
    Spearman's correlation of credit and A over all steps.
``explained``
    Calibration: the share of the variance of A that is predicted by the tenth of steps to which the credit puts a step.
``wasted``
    Share of all credit, Σ |credit| over tokens, that goes to steps that do not matter.
``cosine``
    Cosine of the direction of the update that the credit gives to that which A gives (bias), and ``cosine_group`` that
    of a single group's direction to the latter (bias and variance).

Intervals are of 95 %, by drawing whole groups of rollouts again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capo_bench.critic.quality import Ballot, Vote, list_ballots, list_plain_votes, share_charged
from capo_bench.revote.batch import Stored, compute_earned
from capo_bench.revote.setting import find_trained_setting
from evals.metrics import list_ks
from trainers.config import TrialConfig
from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Evidence
from trainers.methods import CAPO, METHODS, find_credit_function

if TYPE_CHECKING:
    import pandas as pd

    from capo_bench.study.plan import Trial

DRAWS, BINS, ROUNDING = 400, 10, 1e-9

Row = dict[str, Any]
Interval = tuple[float | None, float | None, float | None]
"""A value with the ends of its interval; None where nothing defines it."""


@dataclass(frozen=True)
class ValuedStep:
    """One stored optimizer step of a trial, with the values of its states.

    Attributes:
        step: The optimizer step, from 1.
        policy: Which policy sampled it: ``start`` or ``trained``.
        values: Q after each step, shape (N,).
        before: Q before each step, shape (N,).
        few_values: The same after each step, counted over few other continuations.
        few_before: The same before each step.
        samples: Continuations of each state behind `values`.
        gram: Inner products of the gradients of steps, shape (N, N); None where they were not worked out.
    """

    trial: Trial
    step: int
    policy: str
    stored: Stored
    values: FloatArray
    before: FloatArray
    few_values: FloatArray
    few_before: FloatArray
    samples: int
    gram: FloatArray | None = None

    @property
    def truth(self) -> FloatArray:
        """A of each step, shape (N,); NaN where a value was not counted."""
        return self.values - self.before

    @property
    def error(self) -> float:
        """Largest standard error of an A."""
        spread = [np.nan_to_num(q * (1 - q)) for q in (self.values, self.before)]
        return float(np.sqrt((spread[0] + spread[1]) / self.samples).max(initial=0.0))


@dataclass(frozen=True)
class Credit:
    """A way to give credit.

    Attributes:
        vote: The vote that it rests on; empty without one.
        k: Critiques of the vote; 0 without one.
        weights: W_whole and W_process, ``"2,1"``; empty where the method has none.
    """

    method: str
    vote: str = ""
    k: int = 0
    weights: str = ""


MEASURES = ("sign", "rank", "explained", "wasted", "cosine")


def compute_credits(measured: ValuedStep) -> dict[Credit, FloatArray]:
    """Return the advantages, shape (N,), that every method gives the steps for which it has what it needs.

    CAPO is there with every vote and number of critiques, the other methods with the trial's own.
    """
    config, stored = measured.trial.config, measured.stored
    size, terms, setting = config.train.group_size, config.terms, find_trained_setting(config.credit)
    weights = f"{config.credit.w_whole:g},{config.credit.w_process:g}"
    asked = bool(stored.flags.answered.any())
    given = dict[Credit, FloatArray]()

    def give(credit: Credit, evidence: Evidence) -> None:
        given[credit] = find_credit_function(credit.method)(stored.batch(size, evidence), terms).advantages

    for name in METHODS.names():
        method = METHODS.get(name)
        if method.credit is None or name == "oracle":
            continue
        if "critic" in method.uses:
            every = _list_ballots(config) if name == CAPO.name else [setting.ballot]
            for ballot in every if asked else []:
                credit = Credit(name, ballot.vote.label, ballot.k, weights)
                give(credit, Evidence(shares=share_charged(stored.flags, ballot), states=stored.states))
        elif "prm" in method.uses:
            if np.isfinite(stored.scores).any():
                give(Credit(name), Evidence(scores=stored.scores))
        elif "values" in method.uses:
            give(Credit(name), Evidence(values=measured.few_values, before=measured.few_before))
        else:
            give(Credit(name), Evidence(states=stored.states))
    if not np.isnan(stored.truth).any():  # the exact checker's own flags, as the best that a critic of steps can say
        give(Credit(CAPO.name, "exact checker", 1, weights), Evidence(shares=stored.truth))
    return given


def _list_ballots(config: TrialConfig) -> list[Ballot]:
    """Return every vote at every k; of one critique, where all votes are the same, the first alone."""
    several = list_ballots(list_plain_votes(), [k for k in list_ks(config.credit.critiques) if k > 1])
    return [Ballot(Vote("majority"), 1), *(ballot for ballot in several if ballot.k > 1)]


def measure_fidelity(measured: Sequence[ValuedStep], bound: float) -> list[Row]:
    """Return a row for each critic, way of credit and policy, over all that was measured of it.

    A row has the critic that was asked (empty where none was), the fields of `Credit`, the policy, the numbers of
    `steps`, of those that `matter` and of `groups`, and each of `MEASURES` with the ends of its interval (``sign``,
    ``sign_low``, ``sign_high``): shares from 0 to 1, None where nothing defines a number.

    Args:
        measured: Stored steps with their true advantages; equal rollouts of trials that share a start count once.
        bound: |A| from which on a step matters.
    """
    cells = dict[tuple[str, Credit, str], list[tuple[ValuedStep, FloatArray]]]()
    seen = set[tuple[str, Credit, str, bytes]]()
    for part in measured:
        for credit, advantages in compute_credits(part).items():
            critic = part.trial.config.critic.name if credit.vote and credit.vote != "exact checker" else ""
            same = (critic, credit, part.policy, part.truth.tobytes() + advantages.tobytes())
            if same not in seen:
                seen.add(same)
                cells.setdefault((critic, credit, part.policy), []).append((part, advantages))
    rows = [_build_fidelity_row(key, parts, bound) for key, parts in cells.items()]
    return sorted(rows, key=lambda row: (row["policy"], row["critic"], 2.0 if row["rank"] is None else -row["rank"]))


def _build_fidelity_row(
    key: tuple[str, Credit, str], parts: Sequence[tuple[ValuedStep, FloatArray]], bound: float
) -> Row:
    critic, credit, policy = key
    truth = np.concatenate([part.truth for part, _ in parts])
    given = np.concatenate([advantages for _, advantages in parts])
    tokens = np.concatenate([part.stored.layout.tokens for part, _ in parts]).astype(np.float64)
    clusters = _sum_clusters([part for part, _ in parts])
    counted = ~np.isnan(truth)
    truth, given, tokens, clusters = truth[counted], given[counted], tokens[counted], clusters[counted]
    groups = int(clusters.max(initial=-1)) + 1
    matter = np.abs(truth) > bound
    agree = matter & (np.sign(np.where(np.abs(given) > ROUNDING, given, 0)) == np.sign(truth))
    size = np.abs(given) * tokens
    sums, times = _sum_draws(clusters, groups), _draw_groups(groups)
    cosines = [_compute_cosines(part, advantages) for part, advantages in parts if part.gram is not None]
    single = [cosine for _, alone in cosines for cosine in alone]
    measures: dict[str, Callable[[FloatArray], float]] = {
        "sign": lambda w: _divide_or_nan(w @ sums(agree), w @ sums(matter)),
        "rank": _compute_correlation(_compute_ranks(given), _compute_ranks(truth), sums),
        "explained": _measure_explained(given, truth, clusters, groups),
        "wasted": lambda w: _divide_or_nan(w @ sums(size * ~matter), w @ sums(size)),
        "cosine": _average_cosines(cosines),
    }
    return {
        "critic": critic,
        **asdict(credit),
        "policy": policy,
        "steps": len(truth),
        "matter": int(matter.sum()),
        "groups": groups,
        **{
            f"{name}{end}": value
            for name in MEASURES
            for end, value in zip(("", "_low", "_high"), _estimate_interval(measures[name], times), strict=True)
        },
        "cosine_group": float(np.mean(single)) if single else None,
    }


def _sum_clusters(parts: Sequence[ValuedStep]) -> IntArray:
    first, clusters = 0, []
    for part in parts:
        clusters.append(first + part.stored.layout.owner // part.trial.config.train.group_size)
        first += len(part.stored.outcomes) // part.trial.config.train.group_size
    return np.concatenate(clusters)


def _draw_groups(groups: int) -> FloatArray:
    """Return how often each group is drawn, shape (1 + draws, groups): first all once, then resamples."""
    drawn = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / max(groups, 1)), DRAWS)
    return np.vstack([np.ones(groups), drawn.astype(np.float64)])


def _sum_draws(clusters: IntArray, groups: int) -> Callable[[Any], FloatArray]:
    def add(values: Any) -> FloatArray:
        added: FloatArray = np.bincount(clusters, np.asarray(values, dtype=np.float64), groups)  # type: ignore[assignment]
        return added

    return add


def _estimate_interval(measure: Callable[[FloatArray], float], times: FloatArray) -> Interval:
    """Return the value, and the middle 95 % of it over resamples; nothing of one group, which has no interval."""
    if times.shape[1] < 2:
        return None, None, None
    values = np.array([float(measure(weights)) for weights in times])
    drawn = values[1:][~np.isnan(values[1:])]
    if not drawn.size or np.isnan(values[0]):
        return None, None, None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def _divide_or_nan(part: Any, whole: Any) -> float:
    return float(part / whole) if whole > 0 else math.nan


def _compute_ranks(values: FloatArray) -> FloatArray:
    """Return ranks, equal values their mean."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values.round(12)), dtype=np.float64)


def _compute_correlation(
    x: FloatArray, y: FloatArray, sums: Callable[[Any], FloatArray]
) -> Callable[[FloatArray], float]:
    moments = np.stack([sums(values) for values in (np.ones_like(x), x, y, x * x, y * y, x * y)])

    def correlate(weights: FloatArray) -> float:
        n, sx, sy, sxx, syy, sxy = moments @ weights
        if n == 0:
            return math.nan
        spread = (sxx / n - (sx / n) ** 2) * (syy / n - (sy / n) ** 2)
        return float((sxy / n - sx * sy / n**2) / math.sqrt(spread)) if spread > ROUNDING else math.nan

    return correlate


def _measure_explained(
    given: FloatArray, truth: FloatArray, clusters: IntArray, groups: int
) -> Callable[[FloatArray], float]:
    """Return what says how much of the variance of A the credit predicts, each group by the means of the others.

    A step is predicted by the mean A of the other groups' steps of the same tenth of credit, so that nothing is gained
    by chance; below 0 it is worse than the mean of all.
    """
    edges = np.unique(np.quantile(given, np.linspace(0, 1, BINS + 1)[1:-1])) if given.size else np.zeros(0)
    cells = clusters * BINS + np.searchsorted(edges, given, side="left")
    counts, sums, squares = (
        np.bincount(cells, values, groups * BINS).reshape(groups, BINS)
        for values in (np.ones_like(truth), truth, truth**2)
    )
    others, their_sums = counts.sum(axis=0) - counts, sums.sum(axis=0) - sums
    mean = (their_sums.sum(axis=1) / np.maximum(others.sum(axis=1), 1))[:, None]
    predicted = np.where(others > 0, their_sums / np.maximum(others, 1), mean)
    missed, spread = (
        (squares - 2 * guess * sums + guess**2 * counts).sum(axis=1)
        for guess in (predicted, np.broadcast_to(mean, counts.shape))
    )
    return lambda weights: 1 - float(weights @ missed / (weights @ spread)) if weights @ spread > ROUNDING else math.nan


Products = tuple[FloatArray, FloatArray, FloatArray]
"""Inner products of group's directions: credit with truth, credit with itself, truth with itself, (C, C) each."""


def _compute_cosines(part: ValuedStep, advantages: FloatArray) -> tuple[Products, list[float]]:
    assert part.gram is not None
    group = part.stored.layout.owner // part.trial.config.train.group_size
    member = (group[None, :] == np.arange(int(group.max(initial=-1)) + 1)[:, None]).astype(np.float64)
    ours, theirs = member * advantages, member * np.nan_to_num(part.truth)
    mixed, own, true = ours @ part.gram @ theirs.T, ours @ part.gram @ ours.T, theirs @ part.gram @ theirs.T
    whole = math.sqrt(max(float(true.sum()), 0.0))
    lengths = np.sqrt(np.maximum(np.diag(own), 0)) * whole
    alone = [float(a / b) for a, b in zip(mixed.sum(axis=1), lengths, strict=True) if b > ROUNDING]
    return (mixed, own, true), alone


def _average_cosines(cosines: Sequence[tuple[Products, list[float]]]) -> Callable[[FloatArray], float]:
    """Return the mean of the steps' cosines, each under the draws of its own groups."""

    def mean(weights: FloatArray) -> float:
        each, first = [], 0
        for (mixed, own, true), _ in cosines:
            w = weights[first : first + len(mixed)]
            first += len(mixed)
            length = (w @ own @ w) * (w @ true @ w)
            each.append(float(w @ mixed @ w) / math.sqrt(length) if length > ROUNDING else math.nan)
        return float(np.nanmean(each)) if not np.isnan(each).all() else math.nan

    return mean


def build_steps_frame(measured: Sequence[ValuedStep]) -> pd.DataFrame:
    """Return a row for each step of each measured rollout and each way of credit: `true` and `credit`."""
    import pandas as pd

    frames = []
    for part in measured:
        layout, trial = part.stored.layout, part.trial
        common = {
            "trial": trial.id, "variant": trial.variant, "seed": trial.seed, "step": part.step, "policy": part.policy,
            "rollout": layout.owner + 1, "place": layout.place + 1, "tokens": layout.tokens,
            "outcome": part.stored.outcomes[layout.owner], "wrong": part.stored.truth, "true": part.truth,
        }  # fmt: skip
        frames += [
            pd.DataFrame({**common, **asdict(credit), "credit": advantages})
            for credit, advantages in compute_credits(part).items()
        ]
    return pd.concat(frames, ignore_index=True)


def compare_with_learning(measured: Sequence[ValuedStep], reached: dict[str, float]) -> Row:
    """Set the fidelity of each variant's own credit beside what it learned.

    Returns:
        ``rows``: variant, rank correlation of its own credit on the start's rollouts, and what it reached.
        ``correlation``: Pearson's over variants, with its interval by drawing variants again; None with fewer than
        four.
    """
    own = dict[str, list[float]]()
    for part in measured:
        if part.policy == "start" and METHODS.get(part.trial.config.method).rests_on_rollouts:
            advantages, counted = compute_earned(part.stored, part.trial.config).advantages, ~np.isnan(part.truth)
            sums = _sum_draws(np.zeros(int(counted.sum()), dtype=np.int64), 1)
            ranks = _compute_correlation(_compute_ranks(advantages[counted]), _compute_ranks(part.truth[counted]), sums)
            own.setdefault(part.trial.variant, []).append(ranks(np.ones(1)))
    rows = [
        (name, float(np.nanmean(values)), reached[name])
        for name, values in own.items()
        if name in reached and not np.isnan(values).all()
    ]
    correlation: Interval = (None, None, None)
    if len(rows) >= 4:
        x, y = (np.array([row[column] for row in rows], dtype=np.float64) for column in (1, 2))
        correlation = _estimate_interval(
            _compute_correlation(x, y, _sum_draws(np.arange(len(rows)), len(rows))), _draw_groups(len(rows))
        )
    return {"rows": rows, "correlation": correlation}
