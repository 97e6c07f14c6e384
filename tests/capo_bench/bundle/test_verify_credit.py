"""What a step's record says of credit, compared with what the rollouts give."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from capo_bench.study.plan import Trial
from capo_bench.verify.checks import Checks, make_checks
from capo_bench.verify.training import _check_credit, _compute_silent_share, compute_credit_numbers
from trainers.config import TrialConfig
from trainers.credit.critique import Critique
from trainers.prm.scored import ScoredSolution, measure_scored
from trainers.rollouts import Rollout, StoredStep

ABSTAINS = Critique(None, "truncated")


def settings(method: str = "capo", **changes: Any) -> TrialConfig:
    train = {"steps": 1, "prompts_per_step": 2, "group_size": 2}
    return TrialConfig.model_validate({"method": method, "train": train, **changes})


def voted(group: int, outcome: float, tokens: tuple[int, ...], *critiques: Critique) -> Rollout:
    return Rollout(group, "p", "?", "7", ("s",) * len(tokens), tokens, outcome, None, "steps", critiques)


def says(*wrong: int) -> Critique:
    return Critique(frozenset(wrong))


ROWS = (
    voted(0, 1.0, (2, 1), says(1), says(0, 1)),
    voted(0, 0.0, (1,), says(), says(0)),
    voted(1, 0.0, (1, 1), says(0), ABSTAINS),
    voted(1, 0.0, (2,), says(), says()),
)
CAPO = settings(credit={"critiques": 2, "vote": "intersection"})
RECORD = {
    "flagged_step_rate": 2 / 6, "penalised_tokens": 2 / 8, "vote_agreement": (0.5 + 0 + 1) / 3,
    "abstained": 1.0, "uncritiqued": 0.0, "groups_process_signal_only": 0.5,
}  # fmt: skip


def checked(config: TrialConfig, step: StoredStep, record: dict[str, float] | None) -> Checks:
    checks = make_checks()
    _check_credit(checks, cast("Trial", SimpleNamespace(config=config)), "rollouts", step, record)
    return checks


def test_what_training_recorded_of_votes_is_derived_again() -> None:
    """The intersection flags step 1 of the first rollout and step 0 of the third; three rollouts have two verdicts."""
    check = checked(CAPO, StoredStep(1, (ROWS,)), RECORD)["credit"]
    assert (check.compared, check.mismatches) == (6, [])


@pytest.mark.parametrize("name", RECORD)
def test_any_number_that_is_off_is_named(name: str) -> None:
    check = checked(CAPO, StoredStep(1, (ROWS,)), {**RECORD, name: RECORD[name] + 1e-6})["credit"]
    assert [one.where for one in check.mismatches] == [f"rollouts and steps.jsonl: step 1 {name}"]


def test_numbers_of_processes_are_added_or_averaged() -> None:
    """Two rollouts a process: 1 of 3 and 1 of 3 steps, 1 of 4 and 1 of 4 tokens, agreement of 1/2, 0 and of 1."""
    parts = ROWS[:2], ROWS[2:]
    check = checked(CAPO, StoredStep(1, parts), {**RECORD, "vote_agreement": (0.25 + 1) / 2})["credit"]
    assert (check.compared, check.mismatches) == (6, [])


def test_numbers_of_scores_are_added_or_averaged() -> None:
    def row(scores: ScoredSolution) -> Rollout:
        return Rollout(0, "p", "?", "7", ("a", "b"), (1, 1), 0.0, None, scored=scores)

    step = StoredStep(1, ((row(ScoredSolution((1.0, 0.2), tokens=10)),), (row(ScoredSolution(None, "too_long")),)))
    told = {"critiques": 2, "abstained": 1, "uncritiqued": 1, "critic_tokens": 10, "critic_prompt_tokens": 10}
    record = {**told, "flagged_step_rate": 0.5, "groups_process_signal_only": 1.0}
    assert checked(settings("prm_sum"), step, record)["credit"].mismatches == []
    (off,) = checked(settings("prm_sum"), step, {**record, "critic_tokens": 11.0})["credit"].mismatches
    assert (off.recorded, off.derived) == ("11.0", "10.0")


def test_what_nothing_was_scored_of_has_no_share() -> None:
    told = measure_scored([ScoredSolution(None, "error", 5)])
    assert (told["abstained"], told["critic_tokens"]) == (1, 5)
    assert math.isnan(told["flagged_step_rate"])


def test_what_cannot_be_worked_out_is_said() -> None:
    fewer = checked(settings(credit={"critiques": 4}), StoredStep(1, (ROWS,)), {})["credit"]
    assert fewer.compared == 0
    assert "another number of critiques" in next(iter(fewer.unchecked))
    torn = checked(CAPO, StoredStep(1, (ROWS[:3],)), RECORD)["credit"]
    assert [one.recorded for one in torn.mismatches] == ["whole groups"]


def test_a_method_whose_groups_have_no_critique_has_signal_from_the_outcome_alone() -> None:
    assert compute_credit_numbers(settings("outcome_only"), StoredStep(1, (ROWS,))) == [
        {"groups_process_signal_only": 0.0}
    ]


def test_a_share_that_training_worked_out_in_single_precision_is_the_same_share() -> None:
    """One of six groups of two has equal outcomes; TRL records 1/6 as the nearest number of 32 bits."""
    outcomes = [1.0, 1.0, *[1.0, 0.0] * 5]
    rows = [Rollout(0, "p", "?", "7", ("a",), (1,), outcome, None) for outcome in outcomes]
    config, step = settings(), StoredStep(1, (tuple(rows),))
    single = float(np.float32(1 / 6))
    assert single != 1 / 6
    assert _compute_silent_share({"groups_without_outcome_signal": single}, step, config) == single
    assert _compute_silent_share({"groups_without_outcome_signal": 1 / 6 + 1e-6}, step, config) == 1 / 6
