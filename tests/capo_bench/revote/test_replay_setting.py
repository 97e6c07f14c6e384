"""What is replayed when nothing is said, and how critics are told apart."""

from __future__ import annotations

import pytest
from stored import StoredHome, config

from capo_bench.critic.quality import Ballot, Vote, list_ballots, list_plain_votes
from capo_bench.revote.setting import (
    VoteSetting,
    Weights,
    choose_ks,
    find_trained_setting,
    parse_vote,
    parse_weights,
)
from capo_bench.revote.study import RevoteRequest, name_critics, replay_study
from capo_bench.study.keys import set_value
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig
from trainers.credit.votes import VOTES
from trainers.teaching import add_trial_seed


@pytest.mark.parametrize(
    ("stored", "ks"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 3, 4)), (6, (1, 2, 3, 4, 6)), (16, (1, 2, 3, 4, 8, 16))],
)
def test_every_k_up_to_four_then_powers_of_two_and_what_was_stored(stored, ks):
    assert choose_ks(stored) == ks


def test_every_registered_rule_but_the_one_that_needs_a_number():
    assert [vote.rule for vote in list_plain_votes()] == [name for name in VOTES.names() if name != "at_least"]


def test_a_ballot_for_every_rule_and_k_that_make_a_difference():
    votes = [Vote("greedy"), Vote("union"), Vote("at_least", 2)]
    found = [(ballot.vote.label, ballot.k) for ballot in list_ballots(votes, [4, 1, 2, 2])]
    assert found == [("greedy", 1), *(("union", k) for k in (1, 2, 4)), *(("at_least 2", k) for k in (2, 4))]


def test_what_a_trial_was_trained_with():
    trained = find_trained_setting(config("at_least", 3, at_least=2, w_whole=1.0, w_process=0.5).credit)
    assert trained == VoteSetting(Ballot(Vote("at_least", 2), 3), Weights(1, 0.5))


def test_options_are_read():
    assert (parse_vote("majority"), parse_vote(" at_least:3")) == (Vote("majority"), Vote("at_least", 3))
    assert parse_weights("2, 0.5") == Weights(2, 0.5)
    assert parse_weights("2,0.5").label == "2,0.5"


def test_critics_of_one_name_are_told_apart_by_the_settings_in_which_they_differ(done: StoredHome):
    plan = done.plan()
    assert set(name_critics(plan.trials).values()) == {"noisy", "exact"}
    trial, _ = done.trial("union")
    worse = trial.config.critic.model_copy(update={"miss": 0.5})
    other = type(trial)("other", "worse", 0, trial.config.model_copy(update={"critic": worse}), {})
    assert list(name_critics([trial, other]).values()) == ["noisy (miss 0.3)", "noisy (miss 0.5)"]


def test_a_critic_that_each_seed_has_for_itself_has_one_name_in_a_variant():
    study = {"cold_start": {"seed": "trial"}, "critic": {"name": "transformers", "embedded": {"seed": "trial"}}}
    config = TrialConfig.model_validate(study)
    short = TrialConfig.model_validate(set_value(study, ["critic", "embedded", "steps"], 7))
    trials = [
        Trial(f"{variant}{seed}", variant, seed, add_trial_seed(settings, seed), {})
        for variant, settings in (("whole", config), ("short", short))
        for seed in (0, 1)
    ]
    assert set(name_critics(trials[:2]).values()) == {"transformers"}
    steps = config.critic.embedded_critic.steps
    names = [f"transformers (embedded.steps {steps})"] * 2 + ["transformers (embedded.steps 7)"] * 2
    assert list(name_critics(trials).values()) == names


def test_progress_counts_every_step_of_every_trial(done: StoredHome):
    told = []
    replay_study(
        done.plan(), done.home, RevoteRequest(votes=(Vote("union"),)), lambda step, of: told.append((step, of))
    )
    assert told == [(step, 18) for step in range(1, 19)]  # three steps of six trials
