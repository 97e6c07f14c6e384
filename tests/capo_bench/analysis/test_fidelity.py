"""How near credit comes to the true advantages: by hand, and laws of the measures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capo_bench.analysis.fidelity import (
    Credit,
    ValuedStep,
    _build_fidelity_row,
    _compute_correlation,
    _compute_ranks,
    _sum_draws,
    build_steps_frame,
    compare_with_learning,
    compute_credits,
    measure_fidelity,
)
from capo_bench.credit.write import write_fidelity
from capo_bench.pages.fidelity import (
    build_fidelity_page,
    build_fidelity_tables,
    describe_learning,
    draw_fidelity_figures,
)
from capo_bench.revote.batch import store_of
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig
from trainers.credit.critique import Critique
from trainers.credit.monte_carlo import list_step_values
from trainers.rollouts import Rollout

CONFIG = TrialConfig.model_validate(
    {"train": {"steps": 1, "prompts_per_step": 2, "group_size": 2}, "credit": {"critiques": 2, "vote": "union"}}
)


def row(group: int, outcome: float, tokens: tuple[int, ...], *wrong: set[int]) -> Rollout:
    steps = tuple(f"{group}/{place}" for place in range(len(tokens)))
    critiques = tuple(Critique(frozenset(flags)) for flags in wrong)
    return Rollout(group, f"p{group}", "?", "7", steps, tokens, outcome, frozenset({0}), critiques=critiques)


ROWS = (
    row(0, 1.0, (1, 1), set(), {0}),
    row(0, 0.0, (1, 3), {1}, {1}),
    row(1, 1.0, (2,), set(), set()),
    row(1, 0.0, (1,), {0}, {0}),
)
CHANCES = [[0.5, 0.5], [0.5, 0.75], [0.9], [0.9]]
# A: 0, 1/2 | 1/4, -3/4 | 1/10 | -9/10.


def of_trial(id: str = "t", variant: str = "capo") -> Trial:
    return Trial(id, variant, 0, CONFIG, {})


def measured(**changes: Any) -> ValuedStep:
    outcomes = np.array([rollout.outcome for rollout in ROWS], dtype=np.float64)
    values, before = list_step_values(CHANCES, outcomes)
    plain: dict[str, Any] = {
        "trial": of_trial(), "step": 1, "policy": "start",
        "stored": store_of(ROWS), "values": values, "before": before, "few_values": values, "few_before": before,
        "samples": 100, "gram": np.eye(6),
    }  # fmt: skip
    return ValuedStep(**{**plain, **changes})


def of(given: list[float], bound: float = 0.2, **changes: Any) -> Any:
    return _build_fidelity_row(("", Credit("x"), "start"), [(measured(**changes), np.array(given))], bound)


def test_the_truth_and_its_error_by_hand() -> None:
    part = measured()
    np.testing.assert_allclose(part.truth, [0, 0.5, 0.25, -0.75, 0.1, -0.9])
    assert part.error == pytest.approx(math.sqrt((0.25 + 0.25) / 100))


def test_signs_and_waste_by_hand() -> None:
    """Of the four steps that matter two have the sign, one another and one no credit at all."""
    found = of([1.0, 2.0, -1.0, -1.0, 0.5, 0.0])
    assert (found["steps"], found["matter"], found["groups"]) == (6, 4, 2)
    assert found["sign"] == 2 / 4
    # Token by token: 1 2 | 1 3 | 1 (two of 1/2) | 0: eight in all, 1 + 1 of it on steps that do not matter.
    assert found["wasted"] == pytest.approx(2 / 8)


def test_the_true_advantages_are_as_near_as_can_be() -> None:
    truth = measured().truth
    found = of(truth.tolist())
    assert (found["sign"], found["rank"], found["cosine"]) == pytest.approx((1, 1, 1))
    opposite = of((-truth).tolist())
    assert (opposite["sign"], opposite["rank"], opposite["cosine"]) == pytest.approx((0, -1, -1))


def test_the_direction_of_an_update_by_hand() -> None:
    """With step gradients at right angles, all of length 1, the cosine is that of the advantages."""
    given = np.array([1.0, 0, 0, -1, 0, 0])
    truth = measured().truth
    assert of(given.tolist())["cosine"] == pytest.approx(0.75 / math.sqrt(2) / np.linalg.norm(truth))
    # Where the first two steps have one gradient, credit of the first counts as credit of the second.
    alike = np.eye(6)
    alike[0, 1] = alike[1, 0] = 1
    right, wrong = (of(each, gram=alike)["cosine"] for each in ([1.0, 0, 0, 0, 0, 0], [0.0, 1, 0, 0, 0, 0]))
    assert right == pytest.approx(wrong)
    assert of(given.tolist(), gram=None)["cosine"] is None


def test_what_a_credit_explains_is_predicted_by_other_groups() -> None:
    """Credit that knows each step within its group, and means another thing in the next one, predicts nothing."""
    rows = tuple(row(group, 1.0, (1, 1)) for group in range(8) for _ in range(2))
    truth = np.tile([1.0, -1.0], 16)
    twisted = truth * np.repeat([1, -1], 4).repeat(4)[: len(truth)]
    parts = measured(stored=store_of(rows), values=truth, before=np.zeros(32), gram=None)
    same, other = (
        _build_fidelity_row(("", Credit("x"), "start"), [(parts, given)], 0.1)["explained"]
        for given in (truth, twisted)
    )
    assert same == pytest.approx(1)
    assert other < 0.05


def test_equal_ranks_share_their_mean() -> None:
    assert _compute_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1, 3.5, 2]


def test_a_correlation_by_hand() -> None:
    x, y = np.array([1.0, 2, 3]), np.array([1.0, 3, 2])
    assert _compute_correlation(x, y, _sum_draws(np.arange(3), 3))(np.ones(3)) == pytest.approx(0.5)


def test_every_method_that_has_what_it_needs_is_there_with_every_vote() -> None:
    found = compute_credits(measured())
    methods = {credit.method for credit in found}
    assert {"capo", "first_error", "vppo", "papo", "rtmc", "lambda_grpo", "vineppo", "spo", "outcome_only"} <= methods
    assert not {"prm_sum", "prm_min", "oracle", "grpo_rule"} & methods, (
        "no scores, the truth itself, no credit of steps"
    )
    capo = {(credit.vote, credit.k) for credit in found if credit.method == "capo"}
    assert {
        ("majority", 1),
        ("majority", 2),
        ("union", 2),
        ("intersection", 2),
        ("average", 2),
        ("first_index", 2),
        ("exact checker", 1),
    } == capo
    assert all(len(advantages) == 6 for advantages in found.values())


def test_monte_carlo_credit_is_measured_by_other_continuations_than_the_truth() -> None:
    few = np.zeros(6)
    found = compute_credits(measured(few_values=few, few_before=few))
    assert found[Credit("vineppo")].tolist() == [0] * 6


def test_equal_rollouts_of_two_trials_count_once() -> None:
    once, twice = (
        measure_fidelity([measured()], 0.2),
        measure_fidelity([measured(), measured(trial=of_trial(id="u"))], 0.2),
    )
    assert [row["steps"] for row in twice] == [row["steps"] for row in once]


def test_the_frame_holds_every_step() -> None:
    parts = [measured()]
    steps = build_steps_frame(parts)
    assert len(steps) == 6 * len(compute_credits(parts[0]))
    capo = steps[(steps["method"] == "capo") & (steps["vote"] == "union")]
    np.testing.assert_allclose(capo["true"], parts[0].truth)


def test_a_row_has_each_measure_with_its_interval() -> None:
    rows = measure_fidelity([measured()], 0.2)
    assert {"sign", "sign_low", "rank_high", "cosine_group", "method", "k"} <= rows[0].keys()
    assert all(row["rank_low"] <= row["rank"] <= row["rank_high"] for row in rows if row["rank"] is not None)


def test_one_group_has_no_interval_and_so_no_number() -> None:
    trial = of_trial()
    train = trial.config.train.model_copy(update={"group_size": len(ROWS)})
    alone = measured(trial=replace(trial, config=trial.config.model_copy(update={"train": train})))
    rows = measure_fidelity([alone], 0.2)
    assert {row["groups"] for row in rows} == {1}
    assert all(row[name] is None for row in rows for name in ("sign", "rank", "explained", "wasted", "cosine"))
    assert "of 1 group, of which no interval can be given" in build_fidelity_tables(rows, 0.2)[0].title
    assert draw_fidelity_figures(rows) == []


def test_tables_and_figures_show_each_measure() -> None:
    rows = measure_fidelity([measured()], 0.2)
    tables = build_fidelity_tables(rows, 0.2)
    assert [len(table.headings) for table in tables] == [7] * len(tables)
    assert "4 matter (|A| > 0.2)" in tables[0].title
    figures = draw_fidelity_figures(rows)
    assert {"credit_sign", "credit_rank", "credit_wasted", "credit_cosine"} <= {figure.name for figure in figures}
    assert all(figure.svg.startswith(b"<svg ") for figure in figures)


def test_learning_needs_four_variants_and_says_so() -> None:
    few = compare_with_learning([measured()], {"capo": 0.5})
    assert "1 variants have both, and 4 are needed" in describe_learning(few, "m")[0]
    parts = [
        measured(trial=of_trial(variant=f"v{place}"), values=measured().values + place / 10 * np.arange(6))
        for place in range(5)
    ]
    found = compare_with_learning(parts, {f"v{place}": place / 10 for place in range(5)})
    assert len(found["rows"]) == 5
    value, low, high = found["correlation"]
    assert low <= value + 1e-9 <= high + 1e-6


def test_files_of_equal_numbers_are_equal_and_the_page_holds_them(tmp_path: Path) -> None:
    rows, told = (
        measure_fidelity([measured()], 0.2),
        {"learning": compare_with_learning([measured()], {"capo": 0.5}), "notes": ["A note."]},
    )
    summary = {"version": 1, "bound": 0.2, "rows": rows, **told}
    page = build_fidelity_page(summary, "voting", "m")
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        assert all(path.exists() for path in write_fidelity(summary, [measured()], page, folder))
    one, two = ({path.name: path.read_bytes() for path in folder.rglob("*.*")} for folder in tmp_path.iterdir())
    assert one == two
    assert {"credit.csv", "credit.json", "steps.csv.gz", "credit.html", "credit.md", "credit_sign.svg"} <= set(one)
    assert page.sections[-1].lines[-1] == "A note."
