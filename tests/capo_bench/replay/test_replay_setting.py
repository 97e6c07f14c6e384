"""What is replayed when nothing is said, and how critics are told apart."""

from __future__ import annotations

import pytest
from stored import StoredHome, config

from capo_bench.critic.quality import Vote
from capo_bench.replay.setting import (
    Ballot,
    Setting,
    Weights,
    ballots,
    default_ks,
    default_votes,
    parse_vote,
    parse_weights,
    trained_setting,
)
from capo_bench.replay.show import shared_lines
from capo_bench.replay.study import Wanted, critic_names, replay_study
from trainers.credit.votes import VOTES


@pytest.mark.parametrize(
    ("stored", "ks"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 3, 4)), (6, (1, 2, 3, 4, 6)), (16, (1, 2, 3, 4, 8, 16))],
)
def test_every_k_up_to_four_then_powers_of_two_and_what_was_stored(stored, ks):
    assert default_ks(stored) == ks


def test_every_registered_rule_but_the_one_that_needs_a_number():
    assert [vote.rule for vote in default_votes()] == [name for name in VOTES.names() if name != "at_least"]


def test_a_ballot_for_every_rule_and_k_that_make_a_difference():
    votes = [Vote("greedy"), Vote("union"), Vote("at_least", 2)]
    found = [(ballot.vote.label, ballot.k) for ballot in ballots(votes, [4, 1, 2, 2])]
    assert found == [("greedy", 1), *(("union", k) for k in (1, 2, 4)), *(("at_least 2", k) for k in (2, 4))]


def test_what_a_trial_was_trained_with():
    trained = trained_setting(config("at_least", 3, at_least=2, w_whole=1.0, w_process=0.5).credit)
    assert trained == Setting(Ballot(Vote("at_least", 2), 3), Weights(1, 0.5))


def test_options_are_read():
    assert (parse_vote("majority"), parse_vote(" at_least:3")) == (Vote("majority"), Vote("at_least", 3))
    assert parse_weights("2, 0.5") == Weights(2, 0.5)
    assert parse_weights("2,0.5").label == "2,0.5"


def test_critics_of_one_name_are_told_apart_by_the_settings_in_which_they_differ(done: StoredHome):
    plan = done.plan()
    assert set(critic_names(plan.trials).values()) == {"noisy", "exact"}
    trial, _ = done.trial("union")
    worse = trial.config.critic.model_copy(update={"miss": 0.5})
    other = type(trial)("other", "worse", 0, trial.config.model_copy(update={"critic": worse}), {})
    assert list(critic_names([trial, other]).values()) == ["noisy (miss 0.3)", "noisy (miss 0.5)"]


def test_progress_counts_every_step_of_every_trial(done: StoredHome):
    told = []
    replay_study(done.plan(), done.home, Wanted(votes=(Vote("union"),)), lambda step, of: told.append((step, of)))
    assert told == [(step, 18) for step in range(1, 19)]  # three steps of six trials


def test_rules_with_equal_numbers_share_a_line():
    greedy, union, majority = (Vote(rule) for rule in ("greedy", "union", "majority"))
    lines = [
        *((Ballot(vote, 1), ("1", "40.0")) for vote in (greedy, union, majority)),
        *((Ballot(vote, 2), ("2", "60.0")) for vote in (union, majority)),
        (Ballot(union, 4), ("4", "70.0")),
        (Ballot(majority, 4), ("4", "50.0")),
    ]
    names = [name for name, _ in shared_lines(lines, {Ballot(majority, 2), Ballot(union, 4)})]
    assert names == ["any rule", "union = majority (trained)", "union (trained)", "majority"]
