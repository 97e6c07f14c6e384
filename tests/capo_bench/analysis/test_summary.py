"""Every number of a report, against the files it comes from."""

from dataclasses import replace

import numpy as np
import pytest
from fakehome import FakeHome, Truth

from capo_bench.analysis.collect import collect
from capo_bench.analysis.power import power
from capo_bench.analysis.stats import adjust_by_holm, estimate_mean, lay_out, subtract_paired
from capo_bench.analysis.summary import summarise
from capo_bench.pages.report import Report
from capo_bench.store.home import read_json, write_json


def finals(full: FakeHome, variant: str, metric: str) -> list[float]:
    trials = [trial for trial in full.plan().trials if trial.variant == variant]
    return [read_json(full.home.trial(trial.id).metrics)["metrics"][metric] for trial in trials]


@pytest.mark.parametrize(
    "metric", ["coins_test/accuracy", "coins_test/wrong_step_rate", "coins_test/steps", "coins_test/tokens"]
)
def test_a_mean_is_the_mean_of_the_trials_own_metrics(full: FakeHome, report: Report, metric: str):
    for row in report.summary.rows:
        assert row.cells[metric].value.mean == pytest.approx(np.mean(finals(full, row.variant, metric)))


@pytest.mark.parametrize("metric", ["coins_test/accuracy", "coins_test/wrong_step_rate"])
def test_a_difference_is_the_difference_of_the_means_shown(report: Report, metric: str):
    base = report.summary.row("grpo_rule").cells[metric].value.mean
    for name in ("intersection", "majority"):
        cell = report.summary.row(name).cells[metric]
        assert cell.versus.mean == pytest.approx(cell.value.mean - base)


def test_the_interval_is_that_of_the_score_matrix(full: FakeHome, report: Report):
    results = collect(full.plan(), full.home)
    rows = results.scores("majority", "coins_test/accuracy")
    values = np.array([[rows[seed][problem] for problem in sorted(rows[seed])] for seed in sorted(rows)])
    assert report.summary.row("majority").cells["coins_test/accuracy"].value == estimate_mean(values)


def test_holm_is_over_the_variants_compared_without_baseline_and_start(report: Report):
    cells = {row.variant: row.cells["coins_test/accuracy"] for row in report.summary.rows}
    plain = [cells[name].versus.p for name in ("intersection", "majority")]
    assert [cells[name].holm for name in ("intersection", "majority")] == pytest.approx(adjust_by_holm(plain))
    assert cells["grpo_rule"].versus is None
    assert cells["cold_start"].versus is None


def test_power_is_at_the_level_of_holms_first_step(full: FakeHome, report: Report):
    """Two variants are compared, so what a study detects has p < 0.05/2."""
    results = collect(full.plan(), full.home)
    values = subtract_paired(
        *(lay_out(results.scores(name, "coins_test/accuracy")) for name in ("majority", "grpo_rule"))
    )
    cell = report.summary.row("majority").cells["coins_test/accuracy"]
    assert cell.power == power(values, 0.025)
    beside = report.summary.row("majority").cells["coins_test/steps"]
    assert beside.power is None  # the study does not ask about it
    assert report.summary.row("grpo_rule").cells["coins_test/accuracy"].power is None


def test_gains_are_over_the_start(report: Report):
    gains = {row.variant: row.cells["coins_test/accuracy"].gain for row in report.summary.rows}
    assert gains["cold_start"] is None
    assert gains["grpo_rule"].seeds == 3
    assert gains["intersection"].low > 0


def test_costs_are_means_over_seeds_and_relative_to_the_baseline(report: Report):
    row = report.summary.row("intersection")
    base = report.summary.row("grpo_rule")
    assert row.cost["critic_tokens"] == 900_000
    assert row.relative["wall_seconds"] == pytest.approx(row.cost["wall_seconds"] / base.cost["wall_seconds"])
    assert "critic_tokens" not in row.relative  # the baseline has none
    assert row.failed_critiques == 64 / 25_600


@pytest.mark.parametrize(
    ("spent", "unspent"),
    [
        ({"budget_share": 0.6, "steps": 50}, 1),  # all of the 50 steps, and the budget not spent
        ({"budget_share": 0.998, "steps": 31}, 0),  # another process reached the seconds first, by its own clock
        ({"budget_share": 1.02, "steps": 50}, 0),
        ({"steps": 50}, 0),  # no budget
    ],
)
def test_a_budget_is_unspent_where_the_steps_ran_out_first(fake: FakeHome, spent: dict[str, float], unspent: int):
    fake.finish("grpo_rule")
    path = fake.home.trial(next(t.id for t in fake.plan().trials if t.variant == "grpo_rule")).metrics
    final = read_json(path)
    write_json(path, {**final, "cost": {**final["cost"], **spent}})
    assert summarise(collect(fake.plan(), fake.home)).row("grpo_rule").unspent == unspent


def test_a_partly_finished_study_compares_what_is_shared(fake: FakeHome):
    fake.finish("grpo_rule", seeds=(0, 1)).finish("majority", seeds=(1, 2))
    found = summarise(collect(fake.plan(), fake.home))
    cell = found.row("majority").cells["coins_test/accuracy"]
    assert (cell.value.seeds, cell.versus.seeds) == (2, 1)
    assert found.finished == 4
    assert found.planned == 12
    assert ("intersection", 0) in {missing[:2] for missing in found.missing}


def test_only_what_was_picked_is_owed(fake: FakeHome):
    fake.finish("grpo_rule")
    found = summarise(collect(fake.plan(only=["grpo_rule", "seed=0"]), fake.home))
    assert (found.finished, found.missing) == (1, ())


def test_unscored_samples_are_told_not_taken_as_wrong(fake: FakeHome):
    class Unscored(FakeHome):
        def sample(self, problem, truth, rng):
            record = super().sample(problem, truth, rng)
            return {**record, "correct": None, "status": "unscored"} if problem < 16 else {**record, "correct": True}

    half = Unscored(fake.path, truths={**fake.truths, "grpo_rule": replace(Truth(0.5))}).finish("grpo_rule")
    row = summarise(collect(half.plan(), half.home)).row("grpo_rule")
    assert row.cells["coins_test/accuracy"].value.mean == 1.0
    assert row.unscored == 0.25
