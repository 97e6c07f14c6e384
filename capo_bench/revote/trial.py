"""Replay one trial: its stored rollouts, some steps at a time, under every setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from capo_bench.critic.quality import Ballot, LabelTally, share_charged
from capo_bench.revote.batch import Stored, store_of
from capo_bench.revote.setting import VoteSetting, Weights, find_trained_setting
from capo_bench.revote.tally import TokenTally
from capo_bench.store.home import TrialFolder
from trainers.config import TrialConfig
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Earned, Evidence
from trainers.methods import METHODS, find_credit_function
from trainers.rollouts import DamagedRolloutsError, StoredStep, list_stored_steps, read_step

MOST_TOKENS = 250_000
"""Tokens that are replayed together, padding included: many enough for numpy, few enough for any machine."""


class NothingStoredError(ValueError):
    """A trial has no critiques of steps to replay; the message gives the reason."""


@dataclass
class Tallies:
    """Sums over the replayed trials of one critic, by ballot and by setting."""

    labels: dict[Ballot, LabelTally] = field(default_factory=dict)
    tokens: dict[VoteSetting, TokenTally] = field(default_factory=dict)


@dataclass
class TrialReplay:
    """What was replayed of a trial; optimizer steps that could not be read are `damaged`, and in no number."""

    trained: VoteSetting
    steps: int = 0
    rollouts: int = 0
    damaged: list[str] = field(default_factory=list)


def replay_trial(  # noqa: PLR0913 - what is replayed, how often, into what, and whom to tell
    folder: TrialFolder,
    config: TrialConfig,
    ballots: Sequence[Ballot],
    weights: Sequence[Weights],
    tallies: Tallies,
    *,
    most_rollouts: int | None = None,
    on_step: Callable[[], None] = lambda: None,
    see: Callable[[StoredStep], None] = lambda step: None,
) -> TrialReplay:
    """Replay a trial.

    Args:
        folder: The trial's folder.
        config: Its settings.
        ballots: Votes and k; a k above the trial's stored number is left out.
        weights: Each is replayed with every ballot. Without any, only labels are counted; this also works if the
            critic judged answers.
        tallies: The sums that the trial is added to.
        most_rollouts: Approximate limit of rollouts: every n-th optimizer step is read; None reads all.
        on_step: Called after each optimizer step.
        see: Receives the replayed steps.

    Raises:
        NothingStoredError: The trial stored no critiques, or critiques of answers and there are weights.
    """
    check_stored(folder, config, done=True)
    replay = TrialReplay(find_trained_setting(config.credit))
    wanted = [ballot for ballot in ballots if ballot.k <= config.credit.critiques]
    for steps in _chunk(_read_steps(folder, config, replay, most_rollouts, on_step), config.train.group_size):
        for step in steps:
            if weights and step.rollouts[0].aim != "steps":
                raise NothingStoredError(f"method {config.method} asks its critic about answers, not about steps")
            see(step)
        stored = store_of([rollout for step in steps for rollout in step.rollouts], config.credit.critiques)
        replay.steps += len(steps)
        replay.rollouts += len(stored.outcomes)
        _add(tallies, _Earnings(stored, config), replay.trained, wanted, weights)
    for setting in (VoteSetting(ballot, pair) for ballot in wanted for pair in weights) if replay.steps else ():
        tallies.tokens[setting].trials += 1
        tallies.tokens[setting].trained_with += setting == replay.trained
    return replay


def check_stored(folder: TrialFolder, config: TrialConfig, *, done: bool) -> None:
    """Check that a trial has something to replay.

    Raises:
        NothingStoredError: It has nothing; the message gives the reason.
    """
    if "prm" in METHODS.get(config.method).uses:
        raise NothingStoredError(
            f"method {config.method} asks no critic, and scores of a process reward model are no votes; "
            f"`capo-bench view {folder.path.name}` shows them"
        )
    if "critic" not in METHODS.get(config.method).uses:
        raise NothingStoredError(f"method {config.method} asks no critic")
    if not done:
        raise NothingStoredError("not finished; `capo-bench run` finishes it")
    if not any(list_stored_steps(folder.rollouts)):
        raise NothingStoredError(f"{folder.rollouts} holds no rollouts; run the trial again to store them")


def _read_steps(
    folder: TrialFolder,
    config: TrialConfig,
    replay: TrialReplay,
    most_rollouts: int | None,
    on_step: Callable[[], None],
) -> Iterator[StoredStep]:
    """Yield the steps that are readable and whole; note the others as damaged."""
    group_size = config.train.group_size
    files = list_stored_steps(folder.rollouts)
    each = config.train.prompts_per_step * group_size
    every = 1 if most_rollouts is None else max(math.ceil(len(files) * each / most_rollouts), 1)
    for number in list(files)[::every]:
        try:
            step = read_whole(number, files[number], group_size)
        except DamagedRolloutsError as error:
            replay.damaged.append(str(error))
            continue
        finally:
            on_step()
        yield step


def read_whole(number: int, files: Sequence[Path], group_size: int) -> StoredStep:
    """Read a stored step that holds whole groups.

    Raises:
        DamagedRolloutsError: A file cannot be read, or the groups are not whole.
    """
    step = read_step(number, files)
    if not is_whole(step, group_size):
        raise DamagedRolloutsError(f"{files[0].parent}: step {number} does not hold whole groups of {group_size}")
    return step


def is_whole(step: StoredStep, group_size: int) -> bool:
    """Return whether the rollouts of a step are whole groups, one after the other."""
    groups = [rollout.group for rollout in step.rollouts]
    return (
        bool(groups)
        and not len(groups) % group_size
        and groups == [place for place in groups[::group_size] for _ in range(group_size)]
    )


def _chunk(steps: Iterator[StoredStep], group_size: int) -> Iterator[list[StoredStep]]:
    """Yield groups of steps whose rollouts, padded to the longest, stay within `MOST_TOKENS`."""
    chunk: list[StoredStep] = []
    rows = widest = 0
    for step in steps:
        longest = max((sum(rollout.tokens) for rollout in step.rollouts), default=0)
        if chunk and (rows + len(step.rollouts)) * max(widest, longest) > MOST_TOKENS:
            yield chunk
            chunk, rows, widest = [], 0, 0
        chunk.append(step)
        rows, widest = rows + len(step.rollouts), max(widest, longest)
    if chunk:
        yield chunk


def _add(
    tallies: Tallies, earned: _Earnings, training: VoteSetting, ballots: Sequence[Ballot], weights: Sequence[Weights]
) -> None:
    stored = earned.stored
    trained = share_charged(stored.flags, training.ballot)
    for ballot in ballots:
        shares = share_charged(stored.flags, ballot)
        tallies.labels.setdefault(ballot, LabelTally()).add(stored, ballot.k, shares, trained)
        for pair in weights:
            tally = tallies.tokens.setdefault(VoteSetting(ballot, pair), TokenTally())
            reference = earned.of(trained, training.weights)
            tally.add(stored, earned.of(shares, pair), reference, earned.of(stored.truth, pair), earned.group_size)


class _Earnings:
    """Rewards and advantages of a batch under its trial's method and normalisation.

    They are computed once for equal penalties: rules often agree, and at k = 1 all do.
    """

    def __init__(self, stored: Stored, config: TrialConfig) -> None:
        self.stored, self._config = stored, config
        self.group_size = config.train.group_size
        self._known: dict[tuple[bytes, Weights], Earned] = {}

    def of(self, shares: FloatArray, weights: Weights) -> Earned:
        """Return the batch's earnings."""
        key = shares.tobytes(), weights
        if key not in self._known:
            batch = self.stored.batch(self.group_size, Evidence(shares=shares))
            terms = replace(self._config.terms, w_whole=weights.whole, w_process=weights.process)
            self._known[key] = find_credit_function(self._config.method)(batch, terms)
        return self._known[key]
