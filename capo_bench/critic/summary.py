"""From a measurement's critiques to its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from capo_bench.critic.measure import CriticMeasurement
from capo_bench.critic.prm import PrmParams, ScoredCritique, explain_abstention
from capo_bench.critic.quality import (
    Ballot,
    JudgedSteps,
    Row,
    Vote,
    call_wrong,
    list_ballots,
    measure_quality,
    set_votes,
    share_charged,
)
from evals.critics.first_error import score_first_error
from evals.critics.labels import LabelledSolution, StepLabels
from evals.critics.metrics import (
    MOST_BINS,
    Calibration,
    ShareEstimate,
    estimate_alpha,
    estimate_area,
    measure_calibration,
)
from evals.metrics import list_ks
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.critique import Critique
from trainers.credit.votes import build_flags

GREEDY = Ballot(Vote("greedy"), 1)
FIRST_INDEX = Vote("first_index")
"""ProcessBench's own vote, which names one step: scored by the first error alone."""


@dataclass(frozen=True)
class CriticSummary:
    """All numbers of a measurement.

    Attributes:
        erroneous: Those with a step labelled wrong.
        steps: Labelled steps.
        wrong: Those labelled wrong.
        votes: Precision, recall and F1 per step (`LabelTally.row`), the greedy critique first; of a process reward
            model the rule is its threshold.
        first_error: ProcessBench's score by rule and k, empty for other data: `rule`, `at_least`, `k`, and `subsets`,
            from a subset's name, and "mean" where there are several, to `FirstErrorScores`.
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
    votes: list[Row]
    first_error: list[Row]
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
    asked, terms, critic = measured.asked, measured.request.terms, measured.request.critic
    labels = [solution.labels for solution in measured.solutions]
    sampled, greedy = lay_out_judged_steps(asked.sampled, labels), lay_out_judged_steps(asked.greedy, labels)
    ks = list_ks(terms.critiques)
    heard = [(GREEDY, greedy)] if terms.greedy else []
    heard += [(ballot, sampled) for ballot in list_ballots([*set_votes(), FIRST_INDEX], ks)]
    votes = [measure_quality(judged, critic.name, ballot) for ballot, judged in heard if ballot.vote != FIRST_INDEX]
    first = [_score_first_error(ballot, judged, measured.solutions) for ballot, judged in heard]
    area, calibrations = None, {k: vote_calibration(sampled, k) for k in ks}
    if isinstance(critic, PrmParams):
        doubts, wrong, groups = list_doubts(asked.greedy, greedy)
        area, calibrations = estimate_area(doubts, wrong, groups), {1: measure_calibration(doubts, wrong, MOST_BINS)}
        votes, first = (
            [{**row, "rule": f"score below {critic.threshold:g}"} for row in rows] for rows in (votes, first)
        )
    return CriticSummary(
        solutions=len(labels),
        erroneous=sum(bool(label.wrong) for label in labels),
        steps=sum(len(label.labelled) for label in labels),
        wrong=sum(len(label.wrong) for label in labels),
        votes=votes,
        first_error=first if measured.data.first_error else [],
        calibration=calibrations,
        alpha=estimate_alpha(*sampled.ratings()),
        area=area,
        cost=_cost(measured),
    )


def lay_out_judged_steps(critiques: Sequence[Sequence[Critique]], labels: Sequence[StepLabels]) -> JudgedSteps:
    """Lay out labelled solutions with their critiques; a step without a label has no truth."""
    truths = [np.full(label.steps, np.nan) for label in labels]
    for truth, label in zip(truths, labels, strict=True):
        truth[sorted(label.labelled)] = 0.0
        truth[sorted(label.wrong)] = 1.0
    problems = tuple(label.group or f"#{row}" for row, label in enumerate(labels))
    return JudgedSteps(problems, np.concatenate(truths), build_flags(critiques, [label.steps for label in labels]))


def vote_calibration(judged: JudgedSteps, k: int) -> Calibration:
    """Compare the share of the first k critiques that flag a step with its label, over the labelled steps."""
    shares = share_charged(judged.flags, Ballot(Vote("average"), k))
    counted = ~np.isnan(shares) & ~np.isnan(judged.truth)
    return measure_calibration(shares[counted], judged.truth[counted] == 1, k)


def list_doubts(
    critiques: Sequence[Sequence[Critique]], judged: JudgedSteps
) -> tuple[FloatArray, BoolArray, list[str]]:
    """Return 1 - score of each labelled step that has a score, whether it is wrong, and its problem."""
    scores = [
        read[0].scores if isinstance(read[0], ScoredCritique) and read[0].scores else (np.nan,) * int(steps)
        for read, steps in zip(critiques, judged.flags.steps, strict=True)
    ]
    doubts = 1 - np.array(list(chain.from_iterable(scores)), dtype=np.float64)
    counted = np.flatnonzero(~np.isnan(doubts) & ~np.isnan(judged.truth))
    groups = [judged.problems[row] for row in judged.owner[counted].tolist()]
    return doubts[counted], judged.truth[counted] == 1, groups


def _score_first_error(ballot: Ballot, judged: JudgedSteps, solutions: Sequence[LabelledSolution]) -> Row:
    flags: dict[str, list[BoolArray | None]] = {}
    labels: dict[str, list[StepLabels]] = {}
    for solution, called in zip(solutions, call_wrong(judged.flags, ballot), strict=True):
        flags.setdefault(solution.subset, []).append(called)
        labels.setdefault(solution.subset, []).append(solution.labels)
    vote = ballot.vote
    return {"rule": vote.rule, "at_least": vote.at_least, "k": ballot.k, "subsets": score_first_error(flags, labels)}


def _cost(measured: CriticMeasurement) -> dict[str, Any]:
    critiques = list(chain.from_iterable([*measured.asked.sampled, *measured.asked.greedy]))
    usages = [critique.usage for critique in critiques]
    return {
        "critiques": len(critiques),
        "reused": sum(critique.reused for critique in critiques),
        "abstained": dict(Counter(filter(None, map(explain_abstention, critiques))).most_common()),
        "prompt_tokens": sum(usage.prompt_tokens for usage in usages),
        "cached_tokens": sum(usage.cached_tokens for usage in usages),
        "output_tokens": sum(usage.output_tokens for usage in usages),
        "money": sum(usage.money for usage in usages),
        "seconds": measured.asked.seconds,
    }
