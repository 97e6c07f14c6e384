"""Replay the finished trials of a study, and add up those of one critic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from capo_bench.critic.quality import Ballot, list_ballots, list_plain_votes
from capo_bench.revote.setting import Weights, choose_ks, find_trained_setting
from capo_bench.revote.trial import NothingStoredError, Tallies, TrialReplay, check_stored, replay_trial
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, TrialFolder
from capo_bench.store.records import flatten, read_records
from trainers.methods import CAPO, METHODS
from trainers.rollouts import list_stored_steps

if TYPE_CHECKING:
    from capo_bench.critic.quality import Vote
    from capo_bench.study.plan import Plan, Trial

OnStep = Callable[[int, int], None]
"""Called with the number of replayed optimizer steps, and of all steps."""


class NothingToReplayError(RunError):
    """No trial of the study has critiques to replay; the message gives the reason for each trial."""


@dataclass(frozen=True)
class RevoteRequest:
    """What to replay; None takes the study's own.

    Attributes:
        votes: Rules; by default all that need no number, and those of training.
        ks: Numbers of critiques; by default every number up to 4, powers of two above, and the stored number.
        weights: By default those of training.
    """

    votes: tuple[Vote, ...] | None = None
    ks: tuple[int, ...] | None = None
    weights: tuple[Weights, ...] | None = None


@dataclass(frozen=True)
class StudyReplay:
    """The result of replaying a study.

    Attributes:
        rows: A row of numbers for each critic, rule, k and weights (`LabelTally.row`, `TokenTally.row`).
        left_out: Trials without anything to replay, with the reason.
        unmet: Requested rules and k for which no trial stored enough critiques.
    """

    study: str
    profile: str
    rows: tuple[dict[str, Any], ...]
    replays: tuple[tuple[Trial, TrialReplay], ...]
    left_out: tuple[tuple[Trial, str], ...]
    unmet: tuple[str, ...] = ()


def replay_study(
    plan: Plan, home: Home, wanted: RevoteRequest = RevoteRequest(), on_step: OnStep = lambda done, total: None
) -> StudyReplay:
    """Replay the finished trials of a plan.

    Raises:
        NothingToReplayError: None of them has critiques of steps, or none has enough.
        DamagedFileError: The record of a trial's steps cannot be read.
    """
    ready, left_out = _sort_out(plan.trials, home)
    votes, ks, weights = _choose(wanted, [trial for trial, _ in ready])
    left_out += [(trial, _describe_too_few(trial, ks)) for trial, _ in ready if min(ks) > trial.config.credit.critiques]
    ready = [(trial, folder) for trial, folder in ready if min(ks) <= trial.config.credit.critiques]
    total, done = sum(len(list_stored_steps(folder.rollouts)) for _, folder in ready), count(1)
    names, critics = name_critics([trial for trial, _ in ready]), dict[str, Tallies]()
    replays: list[tuple[Trial, TrialReplay]] = []

    def tell() -> None:
        on_step(next(done), total)

    for trial, folder in ready:
        # Methods that charge steps differently are never added up.
        own = METHODS.get(trial.config.method).credit not in {None, CAPO.credit}
        tallies = critics.setdefault(names[trial.id] + f", {trial.config.method}" * own, Tallies())
        try:
            replayed = replay_trial(folder, trial.config, list_ballots(votes, ks), weights, tallies, on_step=tell)
        except NothingStoredError as error:
            left_out.append((trial, str(error)))
            continue
        replays.append((trial, replayed))
    reasons = sorted(f"{trial.variant}, seed {trial.seed} ({trial.id}): {why}" for trial, why in left_out)
    counted = {ballot for tallies in critics.values() for ballot in tallies.labels}
    unmet = _find_unmet(votes, ks, counted, [replayed for _, replayed in replays])
    if not counted:
        why = unmet if replays else reasons
        raise NothingToReplayError("\n  ".join([f"nothing to replay in study {plan.study!r}:", *why]))
    return StudyReplay(plan.study, plan.profile, _make_rows(critics), tuple(replays), tuple(left_out), unmet)


def _make_rows(critics: Mapping[str, Tallies]) -> tuple[dict[str, Any], ...]:
    labels = {
        (critic, ballot): tally.row(critic, ballot)
        for critic, tallies in critics.items()
        for ballot, tally in tallies.labels.items()
    }
    return tuple(
        {
            **labels[critic, setting.ballot],
            "w_whole": setting.weights.whole,
            "w_process": setting.weights.process,
            **tally.row(),
        }
        for critic, tallies in critics.items()
        for setting, tally in tallies.tokens.items()
    )


def read_recorded(folder: TrialFolder) -> dict[int, Mapping[str, float]]:
    """Return each step's record of training, by step."""
    rows = read_records(folder.steps) if folder.steps.exists() else []
    return {int(row["step"]): row for row in rows if "step" in row}


def name_critics(trials: Iterable[Trial]) -> dict[str, str]:
    """Return trial id to the name of its critic, with the settings in which critics of one name differ.

    Settings that differ between the seeds of one variant, such as the critic's own seed, are left out.
    """
    trials = list(trials)
    critics = dict[str, dict[str, Any]]()
    for trial in trials:
        settings = flatten(trial.config.critic.identity())
        common = critics.setdefault(trial.variant, settings).items()
        critics[trial.variant] = {name: value for name, value in common if settings.get(name) == value}
    names = {variant: _name_critic(critic, critics.values()) for variant, critic in critics.items()}
    return {trial.id: names[trial.variant] for trial in trials}


def _name_critic(critic: Mapping[str, Any], critics: Iterable[Mapping[str, Any]]) -> str:
    others = [other for other in critics if other["name"] == critic["name"]]
    differing = [name for name in critic if any(other.get(name) != critic[name] for other in others)]
    settings = ", ".join(f"{name} {critic[name]}" for name in differing)
    return f"{critic['name']} ({settings})" if settings else str(critic["name"])


def _sort_out(trials: Sequence[Trial], home: Home) -> tuple[list[tuple[Trial, TrialFolder]], list[tuple[Trial, str]]]:
    ready, left_out = [], []
    for trial in trials:
        folder = home.trial(trial.id)
        try:
            check_stored(folder, trial.config, done=folder.done)
        except NothingStoredError as error:
            left_out.append((trial, str(error)))
        else:
            ready.append((trial, folder))
    return ready, left_out


def _choose(
    wanted: RevoteRequest, trials: Sequence[Trial]
) -> tuple[tuple[Vote, ...], tuple[int, ...], tuple[Weights, ...]]:
    trained = [find_trained_setting(trial.config.credit) for trial in trials]
    most = max((setting.ballot.k for setting in trained), default=1)
    votes = wanted.votes or tuple(dict.fromkeys([*list_plain_votes(), *(setting.ballot.vote for setting in trained)]))
    weights = wanted.weights or tuple(dict.fromkeys(setting.weights for setting in trained))
    return votes, wanted.ks or choose_ks(most), weights


def _find_unmet(
    votes: Sequence[Vote], ks: Sequence[int], counted: Collection[Ballot], replays: Sequence[TrialReplay]
) -> tuple[str, ...]:
    most = max((replay.trained.ballot.k for replay in replays), default=0)
    stored = f"needs more critiques than were requested or stored (at most {most} a rollout)"
    rules = [f"rule {vote.label}" for vote in votes if vote not in {ballot.vote for ballot in counted}]
    sizes = [f"k = {k}" for k in ks if k > most]
    return tuple(f"{wish}: {stored}" for wish in [*rules, *sizes])


def _describe_too_few(trial: Trial, ks: Sequence[int]) -> str:
    return f"stored {trial.config.credit.critiques} critiques a rollout, fewer than k = {min(ks)}"
