"""The critics of a study: how good, how much of one mind and how dear, from what training stored and recorded.

Quality is measured on the rollouts of training themselves, with the votes of training, against the benchmark's exact
checker (for a critic of answers: against the verifier). Of a long trial only every n-th optimizer step is read.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from capo_bench.critic.quality import powers_of_two
from capo_bench.critic.tables import alpha_in_words
from capo_bench.replay.batch import batch_of
from capo_bench.replay.setting import Ballot, ballots, default_votes
from capo_bench.replay.show import interval, percent, shared_lines
from capo_bench.replay.study import critic_names
from capo_bench.replay.tally import LabelTally, pooled_labels, table_of
from capo_bench.replay.trial import NothingStoredError, TrialReplay, replay_trial
from capo_bench.report.collect import Results, Run
from capo_bench.report.digest import digested
from capo_bench.report.grids import CriticPoint
from capo_bench.report.tables import NOTHING, Table
from evals.critics.metrics import Estimate as Share
from evals.critics.metrics import scores_of
from trainers.credit.arrays import IntArray
from trainers.methods import METHODS
from trainers.rollouts import StoredStep

MOST_ROLLOUTS = 1024
"""Rollouts of a trial that are read, about: every n-th optimizer step from the first."""

COST = (
    *("critiques", "critiques_reused", "abstained", "critic_tokens", "critic_prompt_tokens", "critic_cached_tokens"),
    *("critic_output_tokens", "critique_seconds", "critic_wait_seconds", "critic_money", "policy_tokens"),
)


@dataclass(frozen=True)
class Critics:
    """The section on critics.

    Attributes:
        tables: Quality by rule and k, and cost; none where no trial has a critic.
        notes: How to read them, and what could not be read.
        points: Precision and recall by rule and k, to be drawn.
    """

    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    points: tuple[CriticPoint, ...] = ()


@dataclass
class Seen:
    """What one critic did in the trials that have it.

    Attributes:
        runs: The trials.
        labels: What its votes say, by rule and k.
        ratings: How many critiques flag each step and how many do not, shape (steps, 2) a piece.
        problems: The problem of each of these steps.
        reasons: Critiques by what they gave: a reason of abstention, or none.
        read: Rollouts read.
        damaged: What could not be read.
    """

    runs: list[Run] = field(default_factory=list)
    labels: dict[Ballot, LabelTally] = field(default_factory=dict)
    ratings: list[IntArray] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reasons: Counter[str | None] = field(default_factory=Counter)
    read: int = 0
    damaged: list[str] = field(default_factory=list)

    def look(self, step: StoredStep) -> None:
        """Count what the critiques of one step gave."""
        self.reasons.update(critique.abstained for rollout in step.rollouts for critique in rollout.critiques)
        batch = batch_of(step.rollouts, max((len(rollout.critiques) for rollout in step.rollouts), default=0))
        flagged, heard = batch.flags.sum(axis=0), batch.answered.sum(axis=0)[batch.owner]
        self.ratings.append(np.stack([flagged, heard - flagged], axis=1).astype(np.int64))
        self.problems += [batch.problems[row] for row in batch.owner.tolist()]

    def add(self, replay: TrialReplay) -> None:
        """Count what replaying a trial found."""
        self.read += replay.rollouts
        self.damaged += replay.damaged
        for ballot, tally in replay.labels.items():
            self.labels[ballot] = pooled_labels([self.labels.get(ballot, LabelTally()), tally])


def critics(results: Results, digest: Path | None = None) -> Critics:
    """Look at the critics of the finished trials.

    Args:
        results: The study's results.
        digest: Where what they came to is kept, so that rollouts are read again only where one changed.
    """
    runs = [run for run in results.all_runs() if "critic" in METHODS.get(run.trial.config.method).uses]
    stored = [file for run in runs for file in _files(run.folder.rollouts)]
    who = [[run.trial.id, run.trial.variant, run.trial.seed, dict(run.cost)] for run in runs]
    found = digested(digest, stored, lambda: asdict(_look(runs)), who)
    tables = (Table(t["title"], tuple(t["headings"]), tuple(map(tuple, t["rows"]))) for t in found["tables"])
    points = (CriticPoint(**{**p, **{end: tuple(p[end]) for end in ("precision", "recall")}}) for p in found["points"])
    return Critics(tuple(tables), tuple(found["notes"]), tuple(points))


def _files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda file: file.name)
    except FileNotFoundError:
        return []


def _look(runs: Sequence[Run]) -> Critics:
    names = critic_names([run.trial for run in runs])
    found: dict[str, Seen] = {}
    for run in runs:
        _read(found.setdefault(names[run.trial.id], Seen()), run)
    if not found:
        return Critics()
    tables = [_quality(found), _verdicts(found), _cost(found)]
    return Critics(tuple(table for table in tables if table.rows), tuple(_notes(found)), tuple(_points(found)))


def _read(seen: Seen, run: Run) -> None:
    seen.runs.append(run)
    config = run.trial.config
    wanted = ballots(default_votes(), powers_of_two(config.credit.critiques))
    try:
        seen.add(replay_trial(run.folder, config, wanted, (), recorded={}, most_rollouts=MOST_ROLLOUTS, see=seen.look))
    except NothingStoredError as error:
        seen.damaged.append(f"{run.trial.variant}, seed {run.trial.seed}: {error}")


def _quality(found: Mapping[str, Seen]) -> Table:
    headings = ("critic and rule", "k", "labelled × problems", "flagged", "precision", "recall", "F1")
    lines = [
        (f"{name}: {rule}", *cells)
        for name, seen in found.items()
        for rule, cells in shared_lines([(ballot, _cells(ballot, tally)) for ballot, tally in seen.labels.items()])
    ]
    title = "Votes of the critics against the exact checker, on rollouts of training (%, with 95 % intervals)"
    return Table(title, headings, tuple(lines))


def _points(found: Mapping[str, Seen]) -> Iterator[CriticPoint]:
    for name, seen in found.items():
        for ballot, tally in seen.labels.items():
            scores = scores_of(table_of(tally.counts))
            precision, recall = _ends(scores.precision), _ends(scores.recall)
            if precision is not None and recall is not None:
                yield CriticPoint(name, ballot.vote.label, ballot.k, precision, recall)


def _ends(share: Share) -> tuple[float, float, float] | None:
    if share.value is None or share.low is None or share.high is None:
        return None
    return share.value, share.low, share.high


def _cells(ballot: Ballot, tally: LabelTally) -> tuple[str, ...]:
    scores = scores_of(table_of(tally.counts))
    flagged = percent(tally.penalty / tally.steps) if tally.steps else NOTHING
    size = f"{scores.steps:,} × {len(tally.counts):,}"
    return (str(ballot.k), size, flagged, *(interval(e) for e in (scores.precision, scores.recall, scores.f1)))


def _verdicts(found: Mapping[str, Seen]) -> Table:
    headings = ("critic", "trials", "critiques (reused)", "abstained", "agreement α")
    totals = _totals(found)
    rows = tuple((name, str(len(seen.runs)), *_said(seen, totals[name])) for name, seen in found.items())
    return Table("What the critics did, all trials together (α with 95 % interval)", headings, rows)


def _totals(found: Mapping[str, Seen]) -> dict[str, dict[str, float]]:
    return {
        name: {key: sum(run.cost.get(key, 0.0) for run in seen.runs) for key in COST} for name, seen in found.items()
    }


def _cost(found: Mapping[str, Seen]) -> Table:
    headings = ["critic", "trials", "tokens read (cached) + written", "tokens per policy token", "seconds (waited)"]
    totals = _totals(found)
    paid = any(total["critic_money"] for total in totals.values())
    rows = tuple(
        (name, str(len(seen.runs)), *_spent(totals[name]), *([f"{totals[name]['critic_money']:,.4g}"] * paid))
        for name, seen in found.items()
    )
    title = "What the critics cost, all trials together"
    return Table(title, (*headings, *(["money"] * paid)), rows)


def _said(seen: Seen, total: Mapping[str, float]) -> tuple[str, ...]:
    return (
        f"{total['critiques']:,.0f} ({total['critiques_reused']:,.0f})",
        _abstentions(seen, total["abstained"] / total["critiques"]) if total["critiques"] else NOTHING,
        _agreement(seen),
    )


def _spent(total: Mapping[str, float]) -> tuple[str, ...]:
    each = total["critic_tokens"] / total["policy_tokens"] if total["policy_tokens"] else math.nan
    tokens = f"{total['critic_prompt_tokens']:,.0f} ({total['critic_cached_tokens']:,.0f})"
    return (
        f"{tokens} + {total['critic_output_tokens']:,.0f}",
        f"{each:.2f}" if math.isfinite(each) else NOTHING,
        f"{total['critique_seconds']:,.1f} ({total['critic_wait_seconds']:,.1f})",
    )


def _abstentions(seen: Seen, share: float) -> str:
    heard = seen.reasons.total()
    told = [f"{reason} {percent(count / heard)}" for reason, count in seen.reasons.most_common() if reason]
    return f"{percent(share)} %" + (f": {', '.join(told)}" if told else "")


def _agreement(seen: Seen) -> str:
    from evals.critics.agreement import alpha_estimate

    if not seen.ratings:
        return NOTHING
    return alpha_in_words(alpha_estimate(np.concatenate(seen.ratings), seen.problems)) or NOTHING


def _notes(found: Mapping[str, Seen]) -> list[str]:
    read = sum(seen.read for seen in found.values())
    lines = [
        f"Quality, agreement and reasons of abstention: from {read:,} rollouts of training, about {MOST_ROLLOUTS:,} a "
        "trial at most (every n-th optimizer step from the first), k critiques being the first k; intervals resample "
        "whole problems. A critic of answers is measured against the verifier. Agreement: Krippendorff's α over steps, "
        "0 for chance and 1 for one mind. A critique that was reused counts with the tokens that it once cost; "
        "seconds are wall time from question to answer, and in brackets the time in which training only waited."
    ]
    return lines + [f"Not read: {line}" for seen in found.values() for line in seen.damaged]
