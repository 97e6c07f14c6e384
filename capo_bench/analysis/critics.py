"""The critics of a study: how good, how much of one mind and how dear, from what training stored and recorded.

Quality is measured on the rollouts of training themselves, with the votes of training, against the benchmark's exact
checker (for a critic of answers: against the verifier). Of a long trial only every n-th optimizer step is read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from capo_bench.analysis.collect import Results, Run
from capo_bench.analysis.digest import digested
from capo_bench.analysis.silence import Silence
from capo_bench.critic.quality import plain_votes, powers_of_two
from capo_bench.revote.batch import store_of
from capo_bench.revote.setting import Ballot, ballots
from capo_bench.revote.study import critic_names
from capo_bench.revote.tally import LabelTally, pooled_labels, table_of
from capo_bench.revote.trial import NothingStoredError, replay_trial
from evals.critics.metrics import ShareEstimate, scores_of
from trainers.credit.arrays import IntArray
from trainers.credit.critique import Aim
from trainers.credit.votes import VOTES
from trainers.methods import METHODS
from trainers.rollouts import StoredStep

MOST_ROLLOUTS, MOST_OF_STUDY = 1024, 2**16
"""Rollouts of a trial and of a study that are read, about: every n-th optimizer step from the first, one at least."""

COST = (
    *("critiques", "critiques_reused", "abstained", "critic_tokens", "critic_prompt_tokens", "critic_cached_tokens"),
    *("critic_output_tokens", "critique_seconds", "critic_wait_seconds", "critic_money", "policy_tokens"),
)

Ends = tuple[float, float, float]
"""A share and the ends of its 95 % interval."""


@dataclass(frozen=True)
class CriticPoint:
    """How good the labels of one critic are, by one rule and k, where precision and recall are defined."""

    critic: str
    rule: str
    k: int
    precision: Ends
    recall: Ends


@dataclass(frozen=True)
class VotesOfCritic:
    """One rule over the first k critiques of a critic.

    Attributes:
        critic: The critic.
        rule: The rule, as tables name it.
        k: How many critiques voted.
        steps: Steps with a vote and an exact label.
        problems: Problems behind them.
        flagged: Share of the steps with a vote that it flags; None without any.
        precision: Of the flags, against the exact checker.
        recall: The same.
        f1: The same.
    """

    critic: str
    rule: str
    k: int
    steps: int
    problems: int
    flagged: float | None
    precision: ShareEstimate
    recall: ShareEstimate
    f1: ShareEstimate


@dataclass(frozen=True)
class CriticTotals:
    """What a critic did in all its trials together.

    Attributes:
        critic: The critic.
        trials: How many trials asked it.
        cost: `COST` to its sum over them.
        reasons: Reason of abstention to its share of the critiques read.
        alpha: Krippendorff's alpha over steps; None where no critique was read.
    """

    critic: str
    trials: int
    cost: Mapping[str, float]
    reasons: Mapping[str, float]
    alpha: ShareEstimate | None


@dataclass(frozen=True)
class Critics:
    """The critics of a study; empty where no trial has one.

    Attributes:
        votes: Quality by rule and k.
        totals: Agreement, abstentions and cost.
        cautions: What of a critic's silence could mislead.
        read: Rollouts that quality and agreement rest on.
        damaged: What could not be read.
    """

    votes: tuple[VotesOfCritic, ...] = ()
    totals: tuple[CriticTotals, ...] = ()
    cautions: tuple[str, ...] = ()
    read: int = 0
    damaged: tuple[str, ...] = ()

    @property
    def points(self) -> tuple[CriticPoint, ...]:
        """Precision and recall to be drawn."""
        return tuple(
            CriticPoint(row.critic, row.rule, row.k, precision, recall)
            for row in self.votes
            if (precision := ends(row.precision)) and (recall := ends(row.recall))
        )


@dataclass
class _Seen:
    """What one critic did in the trials that ask it the same: which steps are wrong, or whether the answer is."""

    runs: list[Run] = field(default_factory=list)
    labels: dict[Ballot, LabelTally] = field(default_factory=dict)
    ratings: list[IntArray] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reasons: Counter[str | None] = field(default_factory=Counter)
    silence: Silence = field(default_factory=Silence)
    read: int = 0
    damaged: list[str] = field(default_factory=list)
    aim: Aim = "steps"

    def look(self, step: StoredStep) -> None:
        """Count what the critiques of one step gave."""
        self.aim = step.rollouts[0].aim
        self.silence.add(step.rollouts)
        self.reasons.update(critique.abstained for rollout in step.rollouts for critique in rollout.critiques)
        batch = store_of(step.rollouts)
        owner = batch.layout.owner
        flagged, heard = batch.flags.flagged.sum(axis=0), batch.flags.answered.sum(axis=0)[owner]
        self.ratings.append(np.stack([flagged, heard - flagged], axis=1).astype(np.int64))
        self.problems += [batch.problems[row] for row in owner.tolist()]

    def add(self, other: _Seen) -> None:
        """Count what the critic did in other trials."""
        self.runs += other.runs
        for ballot, tally in other.labels.items():
            self.labels[ballot] = pooled_labels([self.labels.get(ballot, LabelTally()), tally])
        self.ratings += other.ratings
        self.problems += other.problems
        self.reasons.update(other.reasons)
        self.silence.merge(other.silence)
        self.read += other.read
        self.damaged += other.damaged


def critics(results: Results, digest: Path | None = None) -> Critics:
    """Look at the critics of the finished trials.

    Args:
        results: The study's results.
        digest: Where what they came to is kept, so that rollouts are read again only where one changed.
    """
    runs = [run for run in results.all_runs() if "critic" in METHODS.get(run.trial.config.method).uses]
    stored = [file for run in runs for file in _files(run.folder.rollouts)]
    who = [[run.trial.id, run.trial.variant, run.trial.seed, dict(run.cost)] for run in runs]
    return _from_json(digested(digest, stored, lambda: asdict(_look(runs)), who))


def _from_json(kept: Mapping[str, Any]) -> Critics:
    shares = ("precision", "recall", "f1")
    votes = (VotesOfCritic(**{**row, **{name: ShareEstimate(**row[name]) for name in shares}}) for row in kept["votes"])
    totals = (
        CriticTotals(**{**row, "alpha": row["alpha"] and ShareEstimate(**row["alpha"])}) for row in kept["totals"]
    )
    return Critics(tuple(votes), tuple(totals), tuple(kept["cautions"]), kept["read"], tuple(kept["damaged"]))


def _files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda file: file.name)
    except FileNotFoundError:
        return []


def _look(runs: Sequence[Run]) -> Critics:
    names, most = critic_names([run.trial for run in runs]), max(1, MOST_OF_STUDY // max(1, len(runs)))
    together: dict[str, _Seen] = {}
    for run in runs:
        seen = _read(run, min(MOST_ROLLOUTS, most))
        name = names[run.trial.id] + (", on answers" if seen.aim == "answer" else "")
        together.setdefault(name, _Seen(aim=seen.aim)).add(seen)
    judges = {name: seen for name, seen in together.items() if seen.aim == "steps"}
    return Critics(
        votes=tuple(row for name, seen in together.items() for row in _votes(name, seen)),
        totals=tuple(_totals(name, seen) for name, seen in together.items()),
        cautions=tuple(text for name, seen in judges.items() for text in seen.silence.cautions(name)),
        read=sum(seen.read for seen in together.values()),
        damaged=tuple(line for seen in together.values() for line in seen.damaged),
    )


def _read(run: Run, most: int) -> _Seen:
    seen, config = _Seen(runs=[run]), run.trial.config
    # A rule that names one step of a response says nothing of the others: precision and recall would mislead.
    votes = [vote for vote in plain_votes() if VOTES.get(vote.rule).step_by_step]
    wanted = ballots(votes, powers_of_two(config.credit.critiques))
    try:
        replay = replay_trial(run.folder, config, wanted, (), most_rollouts=most, see=seen.look)
    except NothingStoredError as error:
        seen.damaged.append(f"{run.trial.variant}, seed {run.trial.seed}: {error}")
    else:
        seen.labels, seen.read, seen.damaged = replay.labels, replay.rollouts, replay.damaged
    return seen


def _votes(name: str, seen: _Seen) -> Iterator[VotesOfCritic]:
    for ballot, tally in seen.labels.items():
        scores = scores_of(table_of(tally.counts))
        yield VotesOfCritic(
            critic=name,
            rule=ballot.vote.label,
            k=ballot.k,
            steps=scores.steps,
            problems=len(tally.counts),
            flagged=tally.penalty / tally.steps if tally.steps else None,
            precision=scores.precision,
            recall=scores.recall,
            f1=scores.f1,
        )


def _totals(name: str, seen: _Seen) -> CriticTotals:
    from evals.critics.agreement import alpha_estimate

    heard = seen.reasons.total()
    return CriticTotals(
        critic=name,
        trials=len(seen.runs),
        cost={key: sum(run.cost.get(key, 0.0) for run in seen.runs) for key in COST},
        reasons={reason: count / heard for reason, count in seen.reasons.most_common() if reason},
        alpha=alpha_estimate(np.concatenate(seen.ratings), seen.problems) if seen.ratings else None,
    )


def ends(share: ShareEstimate) -> Ends | None:
    """Return a share with its interval as plain numbers; None where one of them is not defined."""
    if share.value is None or share.low is None or share.high is None:
        return None
    return share.value, share.low, share.high
