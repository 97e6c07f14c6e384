"""The numbers of a replay, one row for each critic, rule, k and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from capo_bench.revote.setting import VoteSetting
from capo_bench.revote.study import Group, StudyReplay
from capo_bench.revote.tally import table_of
from capo_bench.revote.trial import TrialReplay
from evals.critics.metrics import ShareEstimate, StepScores, scores_of


@dataclass(frozen=True)
class RevoteRow:
    """One setting on the stored critiques of one critic. Shares are from 0 to 1; NaN where a number is not defined.

    Attributes:
        critic: The critic.
        setting: Rule, k and weights.
        trials: Trials that stored enough critiques.
        trained_with: Those of them that were trained with this setting.
        rollouts: Their rollouts.
        scores: Precision, recall and F1 of labels against the exact checker, intervals over whole problems.
        problems: Problems behind them.
        flagged_step_rate: Mean penalty share of the steps.
        label_agreement: Share of steps labelled as in training.
        reward_changed: Share of tokens whose reward differs from training.
        reward_moved: Mean absolute difference to the token rewards of training.
        sign_changed: Share of tokens whose advantage has another sign than in training.
        moved: Mean absolute difference to the advantages of training.
        sign_off_exact: Share of tokens whose advantage has another sign than under exact labels.
        moved_exact: Mean absolute difference to the advantages under exact labels.
        correlation_exact: Correlation with the advantages under exact labels.
        process_only: Share of groups with signal from the process alone.
        abstained: Share of the critiques without a verdict.
        uncritiqued: Share of the rollouts that none of the k critiques answered.
    """

    critic: str
    setting: VoteSetting
    trials: int
    trained_with: int
    rollouts: int
    scores: StepScores
    problems: int
    flagged_step_rate: float
    label_agreement: float
    reward_changed: float
    reward_moved: float
    sign_changed: float
    moved: float
    sign_off_exact: float
    moved_exact: float
    correlation_exact: float
    process_only: float
    abstained: float
    uncritiqued: float

    def flat(self) -> dict[str, Any]:
        """Return the row as plain values, None for undefined numbers."""
        ballot, weights = self.setting.ballot, self.setting.weights
        own: dict[str, Any] = {
            "critic": self.critic,
            "rule": ballot.vote.rule,
            "at_least": ballot.vote.at_least,
            "k": ballot.k,
            "w_whole": weights.whole,
            "w_process": weights.process,
        }
        plain = [entry.name for entry in fields(self) if entry.name not in ("critic", "setting", "scores")]
        own |= {name: _drop_nan(getattr(self, name)) for name in plain}
        own |= {"labelled_steps": self.scores.steps, "wrong_steps": self.scores.wrong}
        for name in ("precision", "recall", "f1", "false_alarm"):
            estimate: ShareEstimate = getattr(self.scores, name)
            own |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return own


def make_rows(replay: StudyReplay) -> list[RevoteRow]:
    """Return every row of a study's replay."""
    return [row for group in replay.critics for row in _make_rows(group, replay)]


def _make_rows(group: Group, replay: StudyReplay) -> list[RevoteRow]:
    scores = {ballot: scores_of(table_of(tally.counts)) for ballot, tally in group.labels.items()}
    ids = {trial.id for trial in group.trials}
    members = [replayed for trial, replayed in replay.replays if trial.id in ids]
    return [
        _make_row(
            group, setting, (_count_stored(setting, members), _count_trained(setting, members)), scores[setting.ballot]
        )
        for setting in group.tokens
    ]


def _count_stored(setting: VoteSetting, members: Sequence[TrialReplay]) -> int:
    return sum(setting in replay.tokens for replay in members)


def _count_trained(setting: VoteSetting, members: Sequence[TrialReplay]) -> int:
    return sum(setting == replay.trained for replay in members)


def _make_row(group: Group, setting: VoteSetting, trials: tuple[int, int], scores: StepScores) -> RevoteRow:
    labels, tokens = group.labels[setting.ballot], group.tokens[setting]
    rewards, trained, exact = tokens.rewards, tokens.trained, tokens.exact
    return RevoteRow(
        critic=group.critic,
        setting=setting,
        trials=trials[0],
        trained_with=trials[1],
        rollouts=int(labels.rollouts),
        scores=scores,
        problems=len(labels.counts),
        flagged_step_rate=_divide(labels.penalty, labels.steps),
        label_agreement=_divide(labels.agreeing, labels.compared),
        reward_changed=_divide(rewards.changed, rewards.tokens),
        reward_moved=_divide(rewards.moved, rewards.tokens),
        sign_changed=_divide(trained.flipped, trained.tokens),
        moved=_divide(trained.moved, trained.tokens),
        sign_off_exact=_divide(exact.flipped, exact.tokens),
        moved_exact=_divide(exact.moved, exact.tokens),
        correlation_exact=exact.correlation,
        process_only=_divide(tokens.process_only, tokens.groups),
        abstained=_divide(labels.abstained, labels.critiques),
        uncritiqued=_divide(labels.uncritiqued, labels.rollouts),
    )


def _divide(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _drop_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
