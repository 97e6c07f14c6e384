"""Looks: the levels against published bounds, the error rate over all looks, and which seeds a look calls for."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fakehome import STUDY, FakeHome, Truth
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from capo_bench.analysis.collect import collect
from capo_bench.analysis.looks import estimate_at_look, estimate_difference, find_trials_due
from capo_bench.analysis.spending import compute_level_of_look, compute_sequential_p, spend_squared
from capo_bench.analysis.stats import NOISE, adjust_by_holm, estimate_mean, lay_out
from capo_bench.pages.report import build_report
from capo_bench.store.ledger import Ledger
from capo_bench.study.last_plan import RunRequest, keep_plan
from capo_bench.verify.checks import Check
from capo_bench.verify.identities import check_plan

LOOKED = STUDY.replace("seeds: [0, 1, 2]", "seeds: {from: 3, to: 8, looks: [3, 5, 8]}")


def near_obrien_fleming(alpha: np.ndarray, share: float) -> np.ndarray:
    return 4 * ndtr(ndtri(alpha / 4) / np.sqrt(share))


@pytest.mark.parametrize(
    ("spend", "bounds"),
    [
        # Lan and DeMets' bounds of five looks at equal distances, two-sided 0.05, as tables and ldbounds give them.
        (near_obrien_fleming, [4.877, 3.357, 2.680, 2.290, 2.031]),
        # All error at the last look: the usual test.
        (lambda alpha, share: alpha * (share >= 1), [38.0, 38.0, 38.0, 38.0, 1.960]),
    ],
)
def test_a_bound_that_is_published_is_passed_at_exactly_five_per_cent(spend, bounds):
    looks = (1, 2, 3, 4, 5)
    for look, bound in enumerate(bounds, 1):
        if bound < 38:
            p_values = [*[1.0] * (look - 1), 2 * float(ndtr(-bound))]
            assert compute_sequential_p(p_values, looks, spend) == pytest.approx(0.05, rel=2e-3)


def test_the_levels_of_the_report_spend_what_they_may():
    # At 1/2 of the seeds 0.05/4 is spent; two independent halves by hand: P(|Z1| < c1, |Z| > c2) = 0.0375.
    first, last = (compute_level_of_look((4, 8), look, 0.05) for look in (1, 2))
    assert first == pytest.approx(0.0125, rel=1e-3)
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(2, 2_000_000))
    whole = halves.sum(axis=0) / np.sqrt(2)
    passed = (abs(halves[0]) < -ndtri(first / 2)) & (abs(whole) > -ndtri(last / 2))
    assert passed.mean() == pytest.approx(0.0375, abs=0.0005)


@given(st.lists(st.integers(2, 40), min_size=2, max_size=5, unique=True), st.data())
def test_a_sequential_p_falls_from_look_to_look_and_is_never_below_the_smallest_p(counts, data):
    looks = sorted(counts)
    p_values = data.draw(st.lists(st.floats(1e-6, 1), min_size=len(looks), max_size=len(looks)))
    found = [compute_sequential_p(p_values[: look + 1], looks) for look in range(len(looks))]
    assert all(later <= earlier for earlier, later in pairwise(found))
    assert found[-1] >= min(p_values) * 0.999


def test_before_the_first_look_there_is_no_p_value():
    assert np.isnan(estimate_at_look(np.eye(2), (3, 5)).p)
    assert not estimate_difference(lay_out({}), lay_out({}), (3, 5)).has_interval


def test_an_interval_of_a_look_excludes_zero_where_its_p_value_is_below_its_level():
    rng = np.random.default_rng(3)
    for gain in np.linspace(0, 1, 21):
        values = rng.normal(gain, 1, size=(3, 30))
        found = estimate_at_look(values, (3, 5))
        assert (found.low > 0 or found.high < 0) == (found.p < NOISE)


def test_over_all_looks_no_more_than_five_per_cent_of_studies_find_what_is_not_there():
    """`python -m benchmarks.looks` measures the same on a grid; right and wrong answers, three variants."""
    rng, looks, studies, wrong = np.random.default_rng(11), (3, 5, 8), 400, 0
    for _ in range(studies):
        ease = rng.normal(size=(1, 48))
        base, *variants = (
            (rng.random((8, 48)) < 1 / (1 + np.exp(-1.5 * ease - 0.5 * rng.normal(size=(8, 1))))).astype(float)
            for _ in range(4)
        )
        wrong += min(adjust_by_holm([estimate_at_look(each - base, looks).p for each in variants])) < NOISE
    assert wrong / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


@pytest.fixture
def looked(tmp_path: Path) -> FakeHome:
    """A study with one variant far ahead, which is decided before the last look, and one that is like the baseline."""
    truths = {"cold_start": Truth(0.35, slip=0.4), "grpo_rule": Truth(0.45), "intersection": Truth(0.9, slip=0.1)}
    return FakeHome(tmp_path, LOOKED, {**truths, "majority": Truth(0.45)})


def seeds(fake: FakeHome) -> dict[str, int]:
    """Return how many seeds of each variant are due."""
    due = find_trials_due(fake.plan(), fake.home).trials
    return {name: sum(trial.variant == name for trial in due) for name in fake.truths}


def test_only_what_is_not_decided_gets_more_seeds_and_with_it_its_baseline_and_its_start(looked: FakeHome):
    assert seeds(looked) == dict.fromkeys(looked.truths, 3)
    looked.finish(seeds=(0, 1))
    assert seeds(looked) == dict.fromkeys(looked.truths, 3)
    looked.finish(seeds=(2,))
    assert seeds(looked) == dict.fromkeys(looked.truths, 5)
    looked.finish(seeds=(3, 4))
    assert seeds(looked) == {"cold_start": 8, "grpo_rule": 8, "intersection": 5, "majority": 8}
    looked.finish(seeds=(5, 6, 7))
    summary = build_report(looked.plan(), looked.home).summary
    assert {row.variant: len(row.seeds) for row in summary.rows}["intersection"] == 5
    assert (summary.looks_complete, summary.missing) == (3, ())


def test_what_lies_beyond_the_latest_complete_look_is_not_looked_at(looked: FakeHome):
    looked.finish(seeds=(0, 1, 2))
    before = build_report(looked.plan(), looked.home).answer
    looked.finish("majority", "grpo_rule", seeds=(3, 4))
    after = collect(looked.plan(), looked.home)
    assert sorted(after.runs["majority"]) == [0, 1, 2]
    assert build_report(looked.plan(), looked.home).answer.headline == before.headline


def test_a_run_that_was_killed_between_two_looks_is_verified_and_a_plan_of_other_seeds_is_not(looked: FakeHome):
    plan = looked.plan()

    def verified(seeds: int) -> list[str]:
        stored = plan.with_seeds(dict.fromkeys(looked.truths, seeds))
        keep_plan(stored, looked.home, RunRequest(looked.study))
        planned = {"metrics": list(plan.metrics), "baseline": plan.baseline, "question": plan.question}
        ids = [trial.id for trial in stored.trials]
        ledger = Ledger(looked.home.study(plan.study).ledger)
        ledger.append("study_started", profile=plan.profile, plan=ids, versions={}, **planned)
        check = Check()
        check_plan(check, stored, looked.home, None, ())
        return [mismatch.where for mismatch in check.mismatches]

    looked.finish(seeds=(0, 1, 2))
    assert verified(3) == []
    assert verified(5) == []
    assert len(verified(4)) == 1, "no look has four seeds"


def test_the_answer_says_which_look_decided_and_what_goes_on(looked: FakeHome):
    looked.finish(seeds=(0, 1))
    told = build_report(looked.plan(), looked.home).answer
    assert told.headline == "No answer yet: the first look, at 3 seeds of every variant, is not complete."
    looked.finish(seeds=(2, 3, 4))
    told = build_report(looked.plan(), looked.home).answer
    assert "decided at look 2 of 3" in told.headline
    assert told.details[1] == (
        "Looks taken: 2 of 3; look 2 (5 seeds) decided intersection; not decided yet, and to get 8 seeds: majority."
    )
    looked.finish(seeds=(5, 6, 7))
    told = build_report(looked.plan(), looked.home).answer
    assert told.details[1].endswith("look 2 (5 seeds) decided intersection; not decided by the last: majority.")


def test_the_interval_is_that_of_the_look_and_wider_than_of_a_fixed_study(looked: FakeHome):
    looked.finish(seeds=range(8))
    results = collect(looked.plan(), looked.home)
    found = build_report(looked.plan(), looked.home).summary.row("majority").cells["coins_test/accuracy"].versus
    scores = [lay_out(results.scores(name, "coins_test/accuracy")) for name in ("majority", "grpo_rule")]
    fixed = estimate_mean(scores[0].values - scores[1].values)
    assert found.mean == fixed.mean
    assert found.low < fixed.low
    assert found.high > fixed.high


def test_the_error_rate_is_spent_by_the_square_of_the_share_of_seeds():
    assert spend_squared(np.array([0.05, 0.01]), 0.5).tolist() == [0.0125, 0.0025]
