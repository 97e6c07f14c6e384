"""Rollouts that a process reward model scored: their rewards and advantages by hand, and how they are shown."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from viewing import ordinary, scored

from capo_bench.analysis.rollouts import credit_step
from capo_bench.pages.rollouts import encode_rollout
from trainers.config import TrialConfig
from trainers.methods import find_credit_function
from trainers.prm.scored import ScoredSolution
from trainers.rollouts import Rollout, StoredStep

ROOT = math.sqrt(2)


def settings(method: str, group_size: int = 2, **prm) -> TrialConfig:
    train = {"steps": 1, "prompts_per_step": 1, "group_size": group_size}
    return TrialConfig.model_validate({"method": method, "train": train, "prm": prm})


def row(tokens: tuple[int, ...], outcome: float | None, scores: tuple[float, ...] | None) -> Rollout:
    said = ScoredSolution(None, "too_long") if scores is None else ScoredSolution(scores, tokens=10)
    steps = tuple("ab"[: len(tokens)])
    return Rollout(0, "p", "?", "7", steps, tokens, outcome, frozenset({len(tokens) - 1}), scored=said)


def seen_of(config: TrialConfig, *rows: Rollout):
    return credit_step(StoredStep(1, (rows,)), config)


# -- by hand


def test_the_sum_of_scores_by_hand():
    # Scores 0.9, 0.1 | 0.5, 0.5: mean 0.5, deviation 0.2828, so 1.4142, -1.4142 | 0, 0. Outcomes 1 | 0: 1 | -1.
    first, second = seen_of(settings("prm_sum"), row((2, 1), 1.0, (0.9, 0.1)), row((1, 5), 0.0, (0.5, 0.5)))
    assert (first.rewards, second.rewards) == ((0.9, 0.1), (0.5, 0.5))
    assert first.advantages == pytest.approx([1, 1 - ROOT])
    assert second.advantages == pytest.approx([-1, -1])
    assert first.doubts == pytest.approx([0.1, 0.9])
    assert (first.blamed, second.blamed) == ((False, True), (False, False)), "one half is no doubt"
    assert first.group == (1, 0)


def test_the_worst_score_by_hand():
    # 2p - 1: 1, -1 | 1, 1. At the limit of the temperature 0, -1 | 1, 0: mean 0, deviation sqrt(1/2).
    config = settings("prm_min", temperature=None)
    first, second = seen_of(config, row((1, 1), 0.0, (1, 0)), row((1, 1), 0.0, (1, 1)))
    assert (first.rewards, second.rewards) == ((0, -1), (1, 0))
    assert first.advantages == pytest.approx([-ROOT, -ROOT])
    assert second.advantages == pytest.approx([ROOT, 0])


def test_the_temperature_and_the_weight_of_the_outcome_are_the_trials():
    # Weights e^-1 and e^1 over their sum at T = 0.5 of 2p - 1 = 0.5, -0.5.
    low, high = math.exp(-1) / (math.exp(-1) + math.e), math.e / (math.exp(-1) + math.e)
    rows = row((1, 1), 1.0, (0.75, 0.25)), row((1, 1), 0.0, (0.75, 0.25))
    first, second = seen_of(settings("prm_min", temperature=0.5, w_whole=3), *rows)
    assert first.rewards == pytest.approx([0.5 * low, -0.5 * high])
    assert np.subtract(first.advantages, second.advantages) == pytest.approx([6, 6])


def test_a_rollout_without_scores_has_the_outcomes_part_alone():
    # Outcomes 0, 0, 1: mean 1/3, deviation sqrt(2)/3.
    rows = row((1, 1), 0.0, (1, 0)), row((1, 1), 0.0, (1, 1)), row((2, 1), 1.0, None)
    *_, last = seen_of(settings("prm_sum", group_size=3), *rows)
    assert last.advantages == pytest.approx([ROOT, ROOT])
    assert all(map(math.isnan, last.rewards))
    assert (last.doubts, last.blamed) == (None, None)


def test_a_group_without_any_score_is_shown_with_all_its_steps():
    first, _ = seen_of(settings("prm_sum"), row((1, 1), 1.0, None), row((1,), 0.0, None))
    assert (len(first.rewards), first.advantages) == (2, (1, 1))


def test_an_answer_that_was_not_verified_leaves_the_steps_their_part():
    first, second = seen_of(settings("prm_sum"), row((1, 1), None, (0.9, 0.1)), row((1, 1), 1.0, (0.5, 0.5)))
    assert first.advantages == pytest.approx([0, -ROOT])
    assert second.advantages == (0, 0), "alone among its group's answers"
    assert math.isnan(first.group[0])


# -- shown


@pytest.fixture(scope="module")
def step(seen) -> list:
    return credit_step(StoredStep(1, (tuple(scored(ordinary(random.Random(1)))),)), seen.scored.config)


def test_steps_are_shaded_by_the_probability_that_they_are_wrong(step):
    steps = encode_rollout(step[1])["steps"]
    assert [judged for _, _, _, judged, *_ in steps] == ["0.10", "0.50", "0.80", "0.98"]
    assert [level for _, _, level, *_ in steps] == [9, 5, 2, 0]
    assert [(blamed, mark) for *_, blamed, mark in steps] == [(1, "wrong"), (0, "right"), (0, "right"), (0, "right")]
    assert steps[0][4] == "0.1"


def test_a_rollout_without_scores_says_why(step):
    one = encode_rollout(step[7])
    assert one["note"] == "Not scored: too long."
    assert one["steps"][0][2:5] == [0, "–", "–"]


def test_a_reason_that_came_in_a_file_steers_nothing(seen):
    rows = scored(ordinary(random.Random(1)))
    rows[7] = replace(rows[7], scored=ScoredSolution(None, "\u202e<b>bad"))  # type: ignore[arg-type]
    *_, last = credit_step(StoredStep(1, (tuple(rows),)), seen.scored.config)
    assert encode_rollout(last)["note"] == "Not scored: ⟨U+202E⟩<b>bad."


def test_a_method_without_credit_says_so():
    with pytest.raises(ValueError, match="method 'grpo_rule' gives no credit to steps; name its function"):
        find_credit_function("grpo_rule")
