"""Rollouts that a process reward model scored: their rewards and advantages by hand, and how they are shown."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from viewing import ordinary, scored

from capo_bench.cli import main
from capo_bench.replay.check import Check, check_step
from capo_bench.view.credited import credited
from capo_bench.view.pick import SCORED_KINDS, Wish, pick
from capo_bench.view.show import shown
from capo_bench.view.view import chosen_trial, view
from trainers.config import TrialConfig
from trainers.methods import score_rule
from trainers.prm.scored import Scored, scored_metrics
from trainers.rollouts import Rollout, StoredStep

ROOT = math.sqrt(2)


def settings(method: str, group_size: int = 2, **prm) -> TrialConfig:
    train = {"steps": 1, "prompts_per_step": 1, "group_size": group_size}
    return TrialConfig.model_validate({"method": method, "train": train, "prm": prm})


def row(tokens: tuple[int, ...], outcome: float | None, scores: tuple[float, ...] | None) -> Rollout:
    said = Scored(None, "too_long") if scores is None else Scored(scores, tokens=10)
    steps = tuple("ab"[: len(tokens)])
    return Rollout(0, "p", "?", "7", steps, tokens, outcome, frozenset({1}), scored=said)


def seen_of(config: TrialConfig, *rows: Rollout):
    return credited(StoredStep(1, (rows,)), config)


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
    assert first.signal


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
    assert (last.doubts, last.blamed, last.some_blamed, last.some_spared) == (None, None, False, False)


def test_a_group_without_any_score_is_shown_with_all_its_steps():
    first, _ = seen_of(settings("prm_sum"), row((1, 1), 1.0, None), row((1,), 0.0, None))
    assert (len(first.rewards), first.advantages) == (2, (1, 1))


def test_an_answer_that_was_not_verified_leaves_the_steps_their_part():
    first, second = seen_of(settings("prm_sum"), row((1, 1), None, (0.9, 0.1)), row((1, 1), 1.0, (0.5, 0.5)))
    assert first.advantages == pytest.approx([0, -ROOT])
    assert second.advantages == (0, 0), "alone among its group's answers"
    assert math.isnan(first.group[0])


# -- what training recorded


def test_what_was_recorded_of_two_processes_is_added_or_averaged():
    config = settings("prm_sum")
    parts = (row((1, 1), 0.0, (1, 0.2)),), (row((1, 1), 0.0, None),)
    told = {"critiques": 2, "abstained": 1, "uncritiqued": 1, "critic_tokens": 10, "critic_prompt_tokens": 10}
    record = {**told, "flagged_step_rate": 0.5, "groups_process_signal_only": 1.0}
    check = Check()
    check_step(check, StoredStep(1, parts), config, record)
    assert (check.passed, check.numbers) == (True, 7)
    check_step(check, StoredStep(1, parts), config, {**record, "critic_tokens": 11.0})
    assert check.off == ["step 1: critic_tokens was 11 and is 10"]


def test_what_nothing_was_scored_of_has_no_share():
    told = scored_metrics([Scored(None, "error", 5)])
    assert (told["abstained"], told["critic_tokens"]) == (1, 5)
    assert math.isnan(told["flagged_step_rate"])


# -- shown


@pytest.fixture(scope="module")
def step(seen) -> list:
    return credited(StoredStep(1, (tuple(scored(ordinary(random.Random(1)))),)), seen.scored.config)


def test_steps_are_shaded_by_the_probability_that_they_are_wrong(step):
    one = shown(step[1])
    assert [each.judged for each in one.steps] == ["0.10", "0.50", "0.80", "0.98"]
    assert [each.level for each in one.steps] == [9, 5, 2, 0]
    assert [each.blamed for each in one.steps] == [True, False, False, False]
    assert one.steps[0].spoken.startswith("step 1, score 0.10, doubted, reward 0.1, advantage +"), "its answer is right"
    assert one.steps[0].spoken.endswith("wrong by the exact checker")


def test_a_rollout_without_scores_says_why(step):
    one = shown(step[7])
    assert (one.unscored, one.steps[0].judged, one.steps[0].level, one.steps[0].reward) == ("too long", "–", 0, "none")
    assert one.steps[0].spoken.startswith("step 1, not scored, reward none")


def test_a_reason_that_came_in_a_file_steers_nothing(seen):
    rows = scored(ordinary(random.Random(1)))
    rows[7] = replace(rows[7], scored=Scored(None, "\u202e<b>bad"))  # type: ignore[arg-type]
    *_, last = credited(StoredStep(1, (tuple(rows),)), seen.scored.config)
    assert shown(last).unscored == "⟨U+202E⟩<b>bad"


def test_one_of_each_kind(seen):
    read = lambda number: credited(  # noqa: E731
        StoredStep(number, (tuple(scored(ordinary(random.Random(number)))),)), seen.scored.config
    )
    sections = pick([1], read, Wish(), "x", SCORED_KINDS)
    assert {section.title: [one.place for one in section.shown] for section in sections} == {
        "Right answer, no step doubted": [1],
        "Right answer, with a doubted step": [2],
        "Wrong answer, with right steps beside doubted ones": [3],
        "No answer of the group is right, yet steps differ": [5],
        "Not scored": [8],
    }


def test_the_page_of_a_trial_with_scores(seen):
    text = view(chosen_trial(seen.home.trial(seen.scored.id)))
    assert "process reward model embedded ·\nW_whole 1 ·\n12 optimizer steps stored" in text
    assert "1 − score: " in text
    assert "in the 10 optimizer steps looked at all 70" in text
    assert '<li class="critique" data-flags="1">step 1: 0.10 · <b>doubted</b>' in text
    assert '<p class="meta">None: too long.</p>' in text
    assert "<h4>Critiques</h4>" not in text
    assert " votes " not in text


def test_only_the_trial_with_scores_of_a_study(seen, tmp_path):
    out = tmp_path / "page.html"
    arguments = ["view", str(seen.file), "--only", "prm_sum", "--home", str(seen.home.path), "--out", str(out)]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.output) == (0, f"{out}\n")
    assert "Who got the credit: prm_sum, seed 0" in out.read_text(encoding="utf-8")


def test_a_method_that_does_not_say_what_it_makes_of_scores():
    with pytest.raises(ValueError, match="method 'grpo_rule' has no step_rewards; name them"):
        score_rule(settings("grpo_rule"))
