"""A critic that is silent about long or wrong rollouts is told of, with numbers; silence by chance is not."""

from __future__ import annotations

import random

from capo_bench.analysis.silence import list_silence_cautions, measure_silence
from trainers.credit.critique import Critique
from trainers.rollouts import Rollout

SAYS, SILENT = Critique(frozenset()), Critique(None, "truncated")


def rollout(problem: int, tokens: int, outcome: float | None, silent: int, asked: int = 4) -> Rollout:
    critiques = (SILENT,) * silent + (SAYS,) * (asked - silent)
    return Rollout(0, f"p{problem}", "?", "7", ("a",), (tokens,), outcome, None, "steps", critiques)


def cautions(rollouts: list[Rollout]) -> list[str]:
    return list(list_silence_cautions("judge", [measure_silence(each) for each in rollouts]))


def test_silence_on_long_and_wrong_rollouts_by_hand() -> None:
    """Of each of 20 problems a long wrong rollout, one of whose four critiques is silent, and a short right one."""
    rows = [one for p in range(20) for one in (rollout(p, 60, 0.0, 1), rollout(p, 30, 1.0, 0))]
    length, outcome = cautions(rows)
    assert length == (
        "judge abstains unevenly: 25.0 % of critiques of rollouts of more than 45 tokens have no verdict, and 0.0 % on "
        "shorter ones (+25.0 points, 95 % interval +25.0 to +25.0, 20 problems). Rollouts without any verdict are "
        "charged their group's mean."
    )
    assert outcome.startswith("judge abstains unevenly: 25.0 % of critiques of wrong answers have no verdict")


def test_silence_by_chance_is_no_caution() -> None:
    rng = random.Random(0)
    rows = [
        rollout(p, rng.randint(20, 60), float(rng.random() < 0.5), sum(rng.random() < 0.1 for _ in range(4)))
        for p in range(100)
        for _ in range(8)
    ]
    assert cautions(rows) == []


def test_a_difference_of_less_than_a_point_is_not_told() -> None:
    rows = [one for p in range(200) for one in (rollout(p, 60, 0.0, 1, asked=128), rollout(p, 30, 1.0, 0, asked=128))]
    assert cautions(rows) == []


def test_one_problem_alone_that_is_silent_is_not_enough() -> None:
    rows = [one for p in range(20) for one in (rollout(p, 60, 0.0, 4 * (p == 0)), rollout(p, 30, 1.0, 0))]
    assert cautions(rows) == []


def test_without_abstentions_without_outcomes_or_without_rollouts_nothing_is_said() -> None:
    assert cautions([rollout(0, 30, 1.0, 0), rollout(1, 60, 0.0, 0)]) == []
    assert cautions([rollout(p, 30, None, 1) for p in range(9)]) == []
    assert cautions([]) == []


def test_few_problems_whose_resamples_all_agree_tell_nothing() -> None:
    rows = [one for p in range(9) for one in (rollout(p, 60, 0.0, 4), rollout(p, 30, 1.0, 0))]
    assert cautions(rows) == []
