"""Replaying one trial: sums by hand, whole and torn files."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from stored import HAND, config, random_rollout, rollout, says

from capo_bench.critic.quality import Ballot, Vote, list_ballots, list_plain_votes
from capo_bench.revote import trial as trial_module
from capo_bench.revote.setting import VoteSetting, Weights
from capo_bench.revote.tally import Distance
from capo_bench.revote.trial import NothingStoredError, Tallies, replay_trial
from capo_bench.store.home import TrialFolder
from trainers.rollouts import write_step

DEFAULT = Weights(2, 1)
UNION, INTERSECTION = (Ballot(Vote(rule), 2) for rule in ("union", "intersection"))


@pytest.fixture
def folder(tmp_path) -> TrialFolder:
    """A trial of one optimizer step, the one worked by hand."""
    write_step(tmp_path / "training" / "rollouts", 1, 0, HAND)
    return TrialFolder(tmp_path)


def replay(folder, vote="intersection", weights=(DEFAULT,), **options):
    """Return the sums of a trial, and what was replayed of it."""
    tallies = Tallies()
    return tallies, replay_trial(
        folder, config(vote), list_ballots(list_plain_votes(), [1, 2]), weights, tallies, **options
    )


def replayed(folder, vote="intersection", weights=(DEFAULT,)):
    return replay(folder, vote, weights)[0]


def plain(tally):
    """Return every number of a tally of labels, those of its problems as well."""
    numbers = {name: value for name, value in vars(tally).items() if name != "counts"}
    cells = {f"{problem}/{place}": n for problem, row in tally.counts.items() for place, n in enumerate(row.tolist())}
    return {**numbers, **cells}


def test_labels_by_hand(folder):
    tally = replayed(folder).labels[UNION]
    assert (tally.rollouts, tally.uncritiqued, tally.critiques, tally.abstained) == (4, 0, 8, 1)
    assert (tally.steps, tally.penalty) == (6, 4)
    # The first step of each rollout of group 0 was left alone by the intersection that trained.
    assert (tally.compared, tally.agreeing) == (6, 4)
    assert {problem: row.tolist() for problem, row in tally.counts.items()} == {"p0": [1, 2, 0, 0], "p1": [1, 0, 0, 2]}
    row = tally.row("noisy", UNION)
    assert (row["precision"], row["recall"], row["f1"]) == (2 / 4, 1, 2 / 3)
    assert (row["flagged_step_rate"], row["label_agreement"], row["abstained"]) == (4 / 6, 4 / 6, 1 / 8)


def test_tokens_by_hand(folder):
    tally = replayed(folder).tokens[VoteSetting(UNION, DEFAULT)]
    assert (tally.groups, tally.process_only, tally.trained.tokens) == (2, 1, 8)
    # The wrong step of the right answer falls below its group's mean under the intersection, not under the union.
    assert tally.trained.flipped == 1
    std = math.sqrt(9 / 4 - 25 / 16)
    moved = 2 * abs(3**-0.5 - 0.75 / std) + abs(3**-0.5 + 0.25 / std) + abs(-(3**0.5) + 1.25 / std)
    assert tally.trained.moved == pytest.approx(moved)
    # Exact labels are those of the intersection here, so the distance to them is the same.
    assert tally.exact.moved == pytest.approx(tally.trained.moved)
    assert 0 < tally.exact.correlation < 1


def test_token_rewards_by_hand(folder):
    """Under the union the first step of either rollout of group 0, of two tokens and of one, loses W_process."""
    found = replayed(folder, weights=(DEFAULT, Weights(2, 0.5)))
    union = found.tokens[VoteSetting(UNION, DEFAULT)].rewards
    assert (union.tokens, union.changed, union.moved) == (8, 3, 3)
    # At half the charge: 1.5 for 2 (two tokens), 1.5 for 1 (one), -0.5 for 0 (one), -0.5 for -1 (one).
    half = found.tokens[VoteSetting(UNION, Weights(2, 0.5))].rewards
    assert (half.tokens, half.changed, half.moved) == (8, 5, 2 * 0.5 + 0.5 + 0.5 + 0.5)


def test_rewards_may_change_where_no_advantage_changes_its_sign(folder):
    """Everything flagged alike moves every reward and leaves the order of the tokens."""
    distance = replayed(folder, weights=(Weights(4, 2),)).tokens[VoteSetting(INTERSECTION, Weights(4, 2))]
    assert (distance.rewards.changed, distance.rewards.moved) == (4, 2 * 2 + 1 + 1)
    assert distance.trained.moved == pytest.approx(0)


def test_what_could_not_be_verified_has_no_reward_to_compare(tmp_path):
    rows = [replace(HAND[0], outcome=None), *HAND[1:]]
    write_step(tmp_path / "training" / "rollouts", 1, 0, rows)
    rewards = replayed(TrialFolder(tmp_path)).tokens[VoteSetting(UNION, DEFAULT)].rewards
    assert (rewards.tokens, rewards.changed, rewards.moved) == (5, 1, 1)


def test_the_trials_own_setting_is_at_no_distance(folder):
    own = replayed(folder).tokens[VoteSetting(INTERSECTION, DEFAULT)]
    assert (own.trained.changed, own.trained.flipped, own.trained.moved) == (0, 0, 0)
    assert (own.rewards.changed, own.rewards.moved) == (0, 0)
    assert own.exact.correlation == pytest.approx(1)


def test_correlation_by_hand():
    distance = Distance()
    for ours, theirs, tokens in ([1.0, 2.0], [2.0, 1.0], [1.0, 3.0]), ([0.0], [0.0], [2.0]):
        distance.add(*(np.array(values) for values in (ours, theirs, tokens)))
    # Token by token: 1 2 2 2 0 0 and 2 1 1 1 0 0; means 7/6 and 5/6; E[xy] = 8/6, E[xx] = 13/6, E[yy] = 7/6.
    assert distance.correlation == pytest.approx((13 / 36) / math.sqrt(29 / 36 * 17 / 36))
    assert Distance().correlation is None


def test_k_above_what_was_stored_is_left_out(folder):
    tallies = Tallies()
    replay_trial(folder, config(), [Ballot(Vote("union"), 3), UNION], (DEFAULT,), tallies)
    assert list(tallies.labels) == [UNION]


def test_steps_are_the_same_together_and_one_by_one(tmp_path, monkeypatch):
    rng = random.Random(3)
    for step in range(1, 7):
        write_step(tmp_path / "training" / "rollouts", step, 0, [random_rollout(rng, row // 2, 2) for row in range(4)])
    together, trial = replay(TrialFolder(tmp_path), weights=(DEFAULT, Weights(1, 5)))
    monkeypatch.setattr(trial_module, "MOST_TOKENS", 1)
    alone, same = replay(TrialFolder(tmp_path), weights=(DEFAULT, Weights(1, 5)))
    assert trial == same
    assert (trial.steps, trial.rollouts) == (6, 24)
    for ballot, tally in together.labels.items():
        assert plain(alone.labels[ballot]) == pytest.approx(plain(tally))
    for setting, tally in together.tokens.items():
        assert alone.tokens[setting].row() == pytest.approx(tally.row())


def test_trials_add_up(folder):
    tallies = Tallies()
    for _ in range(2):
        replay_trial(folder, config(), [UNION], (DEFAULT,), tallies)
    labels, tokens = tallies.labels[UNION], tallies.tokens[VoteSetting(UNION, DEFAULT)]
    assert (labels.steps, labels.agreeing, labels.counts["p0"].tolist()) == (12, 8, [2, 4, 0, 0])
    assert (tokens.trials, tokens.trained_with) == (2, 0)
    assert (tokens.groups, tokens.trained.flipped, tokens.rewards.changed) == (4, 2, 6)
    once = replayed(folder).tokens[VoteSetting(UNION, DEFAULT)]
    assert tokens.exact.correlation == pytest.approx(once.exact.correlation)
    assert replayed(folder).tokens[VoteSetting(INTERSECTION, DEFAULT)].trained_with == 1


def test_another_normalisation_moves_advantages_and_no_reward(folder):
    """Under all tokens the steps of the right answer stand at 2 2 1 beside 0, apart they do not."""
    tallies = {name: Tallies() for name in ("all_tokens", "apart")}
    for name, own in tallies.items():
        replay_trial(folder, config(normalization=name), [UNION], (DEFAULT,), own)
    first, other = (own.tokens[VoteSetting(UNION, DEFAULT)] for own in tallies.values())
    assert (first.rewards.changed, first.rewards.moved) == (other.rewards.changed, other.rewards.moved)
    assert first.trained.moved != pytest.approx(other.trained.moved)


def test_a_difference_by_rounding_alone_is_no_change_of_sign():
    distance = Distance()
    distance.add(np.array([1e-17, -1.0, 0.0]), np.array([-1e-17, 1.0, 1e-12]), np.array([1.0, 2.0, 3.0]))
    assert distance.flipped == 2


def test_a_group_that_spans_processes_is_whole(tmp_path):
    write_step(tmp_path / "training" / "rollouts", 1, 0, HAND[:1])
    write_step(tmp_path / "training" / "rollouts", 1, 1, HAND[1:])
    write_step(tmp_path / "one" / "training" / "rollouts", 1, 0, HAND)
    ours, theirs = (replayed(TrialFolder(path)).labels for path in (tmp_path, tmp_path / "one"))
    assert {ballot: plain(tally) for ballot, tally in ours.items()} == {b: plain(t) for b, t in theirs.items()}


def test_a_torn_file_is_named_and_the_rest_is_replayed(folder):
    write_step(folder.rollouts, 2, 0, HAND)
    path = folder.rollouts / "00002.0.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    _, found = replay(folder)
    assert found.steps == 1
    assert len(found.damaged) == 1
    assert "00002.0.jsonl.gz" in found.damaged[0]


@pytest.mark.parametrize("rows", [HAND[:3], [HAND[0], HAND[2], HAND[1], HAND[3]], []])
def test_a_step_without_whole_groups_is_named(folder, rows):
    write_step(folder.rollouts, 2, 0, rows)
    _, found = replay(folder)
    assert found.steps == 1
    assert found.damaged == [f"{folder.rollouts}: step 2 does not hold whole groups of 2"]


def test_of_a_long_trial_every_nth_step_is_read(tmp_path):
    for step in range(1, 11):
        write_step(tmp_path / "training" / "rollouts", step, 0, HAND)
    seen = []
    folder = TrialFolder(tmp_path)
    tallies, found = replay(folder, weights=(), most_rollouts=12, see=lambda step: seen.append(step.step))
    assert seen == [1, 5, 9]  # 40 rollouts, at most about 12: every fourth step
    assert (found.rollouts, tallies.tokens) == (12, {})


def test_rollouts_without_critiques_say_why(tmp_path):
    with pytest.raises(NothingStoredError, match="holds no rollouts; run the trial again"):
        replayed(TrialFolder(tmp_path))


def test_critiques_of_answers_have_labels_but_no_token_rewards(tmp_path):
    rows = [replace(rollout(0, (2,), outcome, None, says(0)), aim="answer") for outcome in (0.0, 1.0)]
    write_step(tmp_path / "training" / "rollouts", 1, 0, rows)
    folder, ballot, tallies = TrialFolder(tmp_path), Ballot(Vote("union"), 1), Tallies()
    replay_trial(folder, config(critiques=1), [ballot], (), tallies)
    assert tallies.labels[ballot].counts["p0"].tolist() == [1, 1, 0, 0]  # one wrong answer found, one right one accused
    with pytest.raises(NothingStoredError, match="asks its critic about answers"):
        replay_trial(folder, config(critiques=1), [ballot], (DEFAULT,), Tallies())
