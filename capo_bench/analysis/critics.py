"""The critics of a study: how good, how much of one mind and how dear, from what training stored and recorded.

Quality is measured on the rollouts of training themselves, with the votes of training, against the benchmark's exact
checker (for a critic of answers: against the verifier). Of a long trial only every n-th optimizer step is read, and of
many trials as many as it takes, the first by their ids, which are hashes: as good as drawn.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from capo_bench.analysis.collect import Results, Run
from capo_bench.analysis.digest import read_or_make
from capo_bench.analysis.silence import Silence, list_silence_cautions, measure_silence
from capo_bench.critic.quality import list_ballots, list_plain_votes
from capo_bench.revote.batch import store_of
from capo_bench.revote.study import name_critics
from capo_bench.revote.trial import NothingStoredError, Tallies, replay_trial
from evals.critics.metrics import ShareEstimate
from evals.metrics import list_ks
from trainers.credit.arrays import IntArray
from trainers.credit.votes import VOTES
from trainers.methods import METHODS
from trainers.rollouts import DamagedRolloutsError, StoredStep, list_stored_steps, read_step

MOST_ROLLOUTS, MOST_OF_STUDY = 1024, 2**14
"""Rollouts of a trial and of a study that are read, about; of each critic one optimizer step at least."""

COST = (
    *("critiques", "critiques_reused", "abstained", "critic_tokens", "critic_prompt_tokens", "critic_cached_tokens"),
    *("critic_output_tokens", "critique_seconds", "critic_wait_seconds", "critic_money", "policy_tokens"),
)

ON_ANSWERS = ", on answers"
"""How the name of a critic ends that judged answers and no steps."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Critics:
    """The critics of a study; empty where no trial has one.

    Attributes:
        votes: Quality by critic, rule and k (`LabelTally.row`).
        totals: A row for each critic: what it did in all its trials together. `trials`, `cost` (the sums of `COST`),
            `reasons` (reason of abstention to its share of the critiques read), and Krippendorff's `alpha` over steps
            with `alpha_low` and `alpha_high`; None where no critique was read.
        cautions: What of a critic's silence could mislead.
        read: Rollouts that quality and agreement rest on.
        damaged: What could not be read.
    """

    votes: Sequence[Row]
    totals: Sequence[Row]
    cautions: Sequence[str]
    read: int
    damaged: Sequence[str]


@dataclass
class _Heard:
    """What a critic said in the trials that were read."""

    tallies: Tallies = field(default_factory=Tallies)
    ratings: list[IntArray] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reasons: Counter[str | None] = field(default_factory=Counter)
    silence: list[Silence] = field(default_factory=list)
    read: int = 0
    damaged: list[str] = field(default_factory=list)

    def hear(self, step: StoredStep) -> None:
        """Count what the critiques of one step gave."""
        self.silence += map(measure_silence, step.rollouts)
        self.reasons.update(critique.abstained for rollout in step.rollouts for critique in rollout.critiques)
        counts, problems = store_of(step.rollouts).ratings()
        self.ratings.append(counts)
        self.problems += problems

    def read_run(self, run: Run, most: int) -> None:
        """Read about `most` rollouts of a trial."""
        config = run.trial.config
        # A rule that names one step of a response says nothing of the others: precision and recall would mislead.
        votes = [vote for vote in list_plain_votes() if VOTES.get(vote.rule).step_by_step]
        wanted = list_ballots(votes, list_ks(config.credit.critiques))
        try:
            replay = replay_trial(run.folder, config, wanted, (), self.tallies, most_rollouts=most, see=self.hear)
        except NothingStoredError as error:
            self.damaged.append(f"{run.trial.variant}, seed {run.trial.seed}: {error}")
        else:
            self.read += replay.rollouts
            self.damaged += replay.damaged


def measure_critics(results: Results, digest: Path | None = None) -> Critics:
    """Look at the critics of the finished trials; rollouts are read again only where one changed since `digest`."""
    runs = [run for run in results.all_runs() if "critic" in METHODS.get(run.trial.config.method).uses]
    names = name_critics([run.trial for run in runs])
    drawn = _draw_trials(runs, names)
    stored = [file for run in runs if run.trial.id in drawn for file in _list_files(run.folder.rollouts)]
    who = [[run.trial.id, run.trial.variant, run.trial.seed, dict(run.cost)] for run in runs]
    return Critics(**read_or_make(digest, stored, lambda: _listen(runs, names, drawn), who))


def _draw_trials(runs: Sequence[Run], names: Mapping[str, str]) -> set[str]:
    """Return the ids of the trials that are read: of each critic as many as its share of `MOST_OF_STUDY` takes."""
    drawn = set[str]()
    for name in set(names.values()):
        own = [run.trial for run in runs if names[run.trial.id] == name]
        train = own[0].config.train
        each = max(_limit_of_trial(runs), train.prompts_per_step * train.group_size)
        count = math.ceil(MOST_OF_STUDY * len(own) / len(runs) / each)
        drawn |= set(sorted(trial.id for trial in own)[:count])
    return drawn


def _limit_of_trial(runs: Sequence[Run]) -> int:
    return max(1, min(MOST_ROLLOUTS, MOST_OF_STUDY // len(runs)))


def _list_files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda file: file.name)
    except FileNotFoundError:
        return []


def _listen(runs: Sequence[Run], names: Mapping[str, str], drawn: Collection[str]) -> Row:
    """Return what `Critics` has, as plain JSON values."""
    asked, on_answers = dict[str, list[Run]](), _find_methods_on_answers(runs)
    for run in runs:
        asked.setdefault(names[run.trial.id] + ON_ANSWERS * (run.trial.config.method in on_answers), []).append(run)
    heard = {name: _Heard() for name in asked}
    for name, own in asked.items():
        for run in own:
            if run.trial.id in drawn:
                heard[name].read_run(run, _limit_of_trial(runs))
    judges = {name: each for name, each in heard.items() if not name.endswith(ON_ANSWERS)}
    return {
        "votes": [
            tally.row(name, ballot) for name, each in heard.items() for ballot, tally in each.tallies.labels.items()
        ],
        "totals": [_sum_totals(name, asked[name], each) for name, each in heard.items()],
        "cautions": [text for name, each in judges.items() for text in list_silence_cautions(name, each.silence)],
        "read": sum(each.read for each in heard.values()),
        "damaged": [line for each in heard.values() for line in each.damaged],
    }


def _find_methods_on_answers(runs: Sequence[Run]) -> set[str]:
    """Return the methods that ask their critic about answers and not about steps, by one trial of each."""
    one_each = {run.trial.config.method: run for run in reversed(runs)}
    return {method for method, run in one_each.items() if _judges_answers(run)}


def _judges_answers(run: Run) -> bool:
    """Whether the critic of a trial was asked about answers, by its first stored rollout."""
    for number, files in list_stored_steps(run.folder.rollouts).items():
        with suppress(DamagedRolloutsError):
            return read_step(number, files).rollouts[0].aim == "answer"
    return False


def _sum_totals(name: str, runs: Sequence[Run], heard: _Heard) -> Row:
    from evals.critics.metrics import estimate_alpha

    count = heard.reasons.total()
    alpha = estimate_alpha(np.concatenate(heard.ratings), heard.problems) if heard.ratings else ShareEstimate(None)
    return {
        "critic": name,
        "trials": len(runs),
        "cost": {key: sum(run.cost.get(key, 0.0) for run in runs) for key in COST},
        "reasons": {reason: times / count for reason, times in heard.reasons.most_common() if reason},
        "alpha": alpha.value,
        "alpha_low": alpha.low,
        "alpha_high": alpha.high,
    }
