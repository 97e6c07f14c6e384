"""From a measurement's critiques to its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from capo_bench.critic.measure import CriticMeasurement
from capo_bench.critic.prm import Below, PrmParams, ScoredCritique, reason
from capo_bench.critic.quality import Vote, VoteQuality, penalties, quality, set_votes, voted_wrong
from evals.critics.first_error import FirstErrorScores, first_error_scores
from evals.critics.labels import StepLabels
from evals.critics.metrics import MOST_BINS, Calibration, ShareEstimate, alpha_estimate, area_estimate, calibration
from evals.metrics import list_ks
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.critique import Critique
from trainers.credit.votes import flags_of

GREEDY = Vote("greedy")
FIRST_INDEX = Vote("first_index")
"""ProcessBench's own vote, which names one step: scored by the first error alone."""

Rows = Sequence[Sequence[Critique]]


@dataclass(frozen=True)
class FirstError:
    """ProcessBench's score of one rule and k: subset, and "mean" where there are several, to scores."""

    vote: Vote
    k: int
    subsets: Mapping[str, FirstErrorScores]


@dataclass(frozen=True)
class CriticSummary:
    """All numbers of a measurement.

    Attributes:
        erroneous: Those with a step labelled wrong.
        steps: Labelled steps.
        wrong: Those labelled wrong.
        votes: Precision, recall and F1 per step, the greedy critique first.
        first_error: ProcessBench's score by rule and k; empty for other data.
        calibration: k to how the share of votes stands to the labels; of a process reward model how 1 − score does.
        alpha: Krippendorff's alpha over all steps of all solutions among the K critiques.
        area: Chance that a process reward model scores a wrong step below a right one; None for any other critic.
        cost: What it cost: `critiques`, those of them that were `reused` (with what they cost then), the reasons of
            those that `abstained` with their numbers, tokens read, kept and written, `money`, `seconds` of the clock.
    """

    solutions: int
    erroneous: int
    steps: int
    wrong: int
    votes: list[VoteQuality]
    first_error: list[FirstError]
    calibration: dict[int, Calibration]
    alpha: ShareEstimate
    area: ShareEstimate | None
    cost: Mapping[str, Any]

    @property
    def scored(self) -> bool:
        """Whether a process reward model scored the steps, which says nothing in words and has no k."""
        return self.area is not None


def summarise(measured: CriticMeasurement) -> CriticSummary:
    """Work out a measurement's numbers."""
    sampled, solutions = measured.asked.sampled, measured.solutions
    labels = [solution.labels for solution in solutions]
    prm = measured.request.critic if isinstance(measured.request.critic, PrmParams) else None
    ks = list_ks(measured.request.terms.critiques) if prm is None else ()
    own = GREEDY if prm is None else Below(threshold=prm.threshold)
    greedy = quality(measured.asked.greedy, labels, [own], [1]) if measured.request.terms.greedy else []
    doubts, wrong, groups = doubted(measured.asked.greedy, labels)
    votes = [*greedy, *quality(sampled, labels, set_votes(), ks)]
    named = [*((row.vote, row.k) for row in votes), *((FIRST_INDEX, k) for k in ks)]
    shares = {k: vote_calibration(sampled, labels, k) for k in ks}
    return CriticSummary(
        solutions=len(labels),
        erroneous=sum(bool(label.wrong) for label in labels),
        steps=sum(len(label.labelled) for label in labels),
        wrong=sum(len(label.wrong) for label in labels),
        votes=votes,
        first_error=[_first_error(vote, k, measured) for vote, k in named] if measured.data.first_error else [],
        calibration=shares if prm is None else {1: calibration(doubts, wrong, MOST_BINS)},
        alpha=agreement(sampled, labels),
        area=None if prm is None else area_estimate(doubts, wrong, groups),
        cost=_cost(measured),
    )


def agreement(critiques: Rows, labels: Sequence[StepLabels]) -> ShareEstimate:
    """Return Krippendorff's alpha of right or wrong over all steps, labelled or not; abstentions are missing."""
    flags = [_flags(row, label) for row, label in zip(critiques, labels, strict=True)]
    counts = [np.stack([(~matrix).sum(axis=0), matrix.sum(axis=0)], axis=1) for matrix in flags]
    groups = [label.group or f"#{row}" for row, label in enumerate(labels) for _ in range(label.steps)]
    return alpha_estimate(np.concatenate(counts), groups) if counts else ShareEstimate(None)


def vote_calibration(critiques: Rows, labels: Sequence[StepLabels], k: int) -> Calibration:
    """Compare the share of the first k critiques that flag a step with its label, over the labelled steps."""
    shares, wrong = [], []
    for row, label in zip(critiques, labels, strict=True):
        charged = penalties(row[:k], label.steps, Vote("average"))
        if charged is not None:
            steps = sorted(label.labelled)
            shares += charged[steps].tolist()
            wrong += [step in label.wrong for step in steps]
    return calibration(np.array(shares, dtype=np.float64), np.array(wrong, dtype=np.bool_), k)


def doubted(critiques: Rows, labels: Sequence[StepLabels]) -> tuple[FloatArray, BoolArray, list[str]]:
    """Return 1 - score of each labelled step that has a score, whether it is wrong, and its group."""
    steps = [
        (1 - critique.scores[step], step in label.wrong, label.group or f"#{row}")
        for row, (read, label) in enumerate(zip(critiques, labels, strict=True))
        for critique in read
        if isinstance(critique, ScoredCritique) and critique.scores
        for step in sorted(label.labelled)
    ]
    doubts, wrong = np.array([step[0] for step in steps]), np.array([step[1] for step in steps], dtype=np.bool_)
    return doubts, wrong, [step[2] for step in steps]


def _flags(critiques: Sequence[Critique], labels: StepLabels) -> BoolArray:
    flags = flags_of([critiques], [labels.steps])
    return flags.flagged[flags.answered[:, 0]]


def _first_error(vote: Vote, k: int, measured: CriticMeasurement) -> FirstError:
    kept = measured.asked.greedy if vote.alone else measured.asked.sampled
    flags: dict[str, list[BoolArray | None]] = {}
    labels: dict[str, list[StepLabels]] = {}
    for solution, row in zip(measured.solutions, kept, strict=True):
        flags.setdefault(solution.subset, []).append(voted_wrong(row[:k], solution.labels.steps, vote))
        labels.setdefault(solution.subset, []).append(solution.labels)
    return FirstError(vote, k, first_error_scores(flags, labels))


def _cost(measured: CriticMeasurement) -> dict[str, Any]:
    critiques = list(chain.from_iterable([*measured.asked.sampled, *measured.asked.greedy]))
    usages = [critique.usage for critique in critiques]
    return {
        "critiques": len(critiques),
        "reused": sum(critique.reused for critique in critiques),
        "abstained": dict(Counter(filter(None, map(reason, critiques))).most_common()),
        "prompt_tokens": sum(usage.prompt_tokens for usage in usages),
        "cached_tokens": sum(usage.cached_tokens for usage in usages),
        "output_tokens": sum(usage.output_tokens for usage in usages),
        "money": sum(usage.money for usage in usages),
        "seconds": measured.asked.seconds,
    }
