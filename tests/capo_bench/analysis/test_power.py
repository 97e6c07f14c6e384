"""Power on hand-worked matrices, its laws, and against studies drawn from a known truth."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as reference

from capo_bench.analysis.power import (
    Components,
    compute_detectable,
    count_problems_needed,
    count_seeds_needed,
    estimate_components,
    power,
)
from capo_bench.analysis.stats import estimate_mean

WORKED = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]])
# From test_stats: A = 2.25 over S = 2 seeds, B = 3.25/3 over P = 3, MS_rest = 1.5.
# σ²_a = 4.5 − 1.5/3 = 4, σ²_b = 3.25 − 1.5/2 = 2.5, σ²_e = 1.5.
FOUND = Components(4.0, 2.5, 1.5, 2, 3)


def test_hand_worked_components():
    found = estimate_components(WORKED)
    assert (found.seed, found.problem, found.rest) == pytest.approx((4.0, 2.5, 1.5))
    assert (found.seeds, found.problems) == (2, 3)


def test_a_component_is_never_below_zero():
    found = estimate_components(np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    assert found.seed == 0
    assert found.problem >= 0


def test_one_problem_leaves_the_seeds_alone():
    found = estimate_components(np.array([[0.2], [0.4], [0.9]]))
    assert found.seed == pytest.approx(np.var([0.2, 0.4, 0.9], ddof=1))
    assert (found.problem, found.rest) == (0, 0)
    assert count_problems_needed(found, 1e9, 0.05) == math.inf


def test_the_detectable_difference_is_that_of_the_interval_at_hand():
    """On the layout at hand the variance and its degrees of freedom are those of the report's interval."""
    interval = estimate_mean(WORKED)
    limit = compute_detectable(FOUND, 0.05)
    critical = reference.t.ppf(0.975, interval.freedom)
    chance = reference.nct.sf(critical, interval.freedom, limit / interval.error)
    assert chance == pytest.approx(0.8, abs=1e-5)


def test_paired_differences_without_seed_noise_are_the_textbook_t_test():
    """One row of problems for many seeds that agree: power of a t test, as in any table (n = 34, d = 0.5: 0.807)."""
    found = Components(1.0, 0.0, 0.0, 34, 1)
    assert compute_detectable(found, 0.05) < 0.5
    assert count_seeds_needed(found, 0.5, 0.05) == 34


def test_unlimited_seeds_leave_the_problems():
    found = Components(4.0, 2.5, 1.5, 2, 100)
    limit = compute_detectable(found, 0.05, seeds=math.inf)
    critical = reference.t.ppf(0.975, 99)
    assert reference.nct.sf(critical, 99, limit / math.sqrt(2.5 / 100)) == pytest.approx(0.8, abs=1e-5)
    assert count_seeds_needed(found, limit * 0.99, 0.05) == math.inf
    assert count_seeds_needed(found, limit * 1.01, 0.05) < math.inf


def test_where_seeds_cannot_do_problems_may():
    found = Components(0.0001, 0.05, 0.1, 10, 64)
    assert count_seeds_needed(found, 0.05, 0.05) == math.inf
    needed = count_problems_needed(found, 0.05, 0.05)
    assert (
        compute_detectable(found, 0.05, problems=needed) <= 0.05 < compute_detectable(found, 0.05, problems=needed - 1)
    )


def test_no_effect_is_never_found():
    assert count_seeds_needed(FOUND, 0.0, 0.05) == count_problems_needed(FOUND, 0.0, 0.05) == math.inf


def test_of_one_seed_nothing_is_said():
    assert power(np.array([[0.1, 0.2, 0.5]]), 0.05) is None
    assert power(np.empty((0, 0)), 0.05) is None


def test_nor_where_no_cell_differs_from_another():
    assert power(np.full((3, 4), 0.25), 0.05) is None


def test_an_unscored_cell_is_left_out():
    gap = np.vstack([WORKED, WORKED + 1])
    gap[3, 2] = np.nan
    assert power(gap, 0.05).detectable > 0


def test_with_two_problems_few_seeds_may_do_where_many_do_not():
    """Seeds without end leave one degree of freedom, that of the two problems."""
    found = Components(0.5, 0.125, 0.0, 4, 2)
    assert 4 < count_seeds_needed(found, 3.0, 0.05) <= 8
    assert compute_detectable(found, 0.05, seeds=math.inf) > 3.0


@given(st.integers(0, 1000))
def test_what_is_not_beyond_noise_needs_more_seeds_than_there_are(seed):
    rng = np.random.default_rng(seed)
    values = 0.1 * rng.normal() + 0.1 * rng.normal(size=(3, 1)) + rng.normal(size=(3, 12))
    assert estimate_mean(values).p < 0.05 or power(values, 0.05).seeds > 3


variances = st.floats(0, 1).map(lambda x: round(x, 3))


@given(variances, variances, variances, st.integers(2, 12), st.integers(2, 300), st.floats(0.01, 2))
def test_laws(seed, problem, rest, seeds, problems, effect):
    assume(seed + problem + rest > 0.01)
    found = Components(seed, problem, rest, seeds, problems)
    limit = compute_detectable(found, 0.05)
    assert compute_detectable(found, 0.01) > limit  # more comparisons, less power
    assert compute_detectable(found, 0.05, seeds=math.inf, problems=math.inf) == 0
    needed = count_seeds_needed(found, effect, 0.05)
    if math.isfinite(needed):
        assert compute_detectable(found, 0.05, seeds=needed) <= effect * 1.0001
        assert needed == 2 or compute_detectable(found, 0.05, seeds=needed - 1) > effect * 0.9999
        assert found.problems < 10 or compute_detectable(found, 0.05, seeds=2 * needed) <= effect * 1.0001
    if limit * 1.0001 <= effect and problems >= 10:
        assert needed <= seeds
    doubled = Components(4 * seed, 4 * problem, 4 * rest, seeds, problems)
    assert compute_detectable(doubled, 0.05) == pytest.approx(2 * limit)


@pytest.mark.parametrize(("seeds", "problems"), [(3, 64), (5, 64), (10, 30)])
def test_the_detectable_difference_is_detected_four_times_in_five(seeds, problems):
    """800 studies with exactly that true difference; the rule is the report's p value."""
    truth = Components(0.02**2, 0.1**2, 0.4**2, seeds, problems)
    effect, rng, runs = compute_detectable(truth, 0.05), np.random.default_rng(seeds), 800
    found = 0
    for _ in range(runs):
        values = effect + 0.02 * rng.normal(size=(seeds, 1)) + 0.1 * rng.normal(size=(1, problems))
        found += estimate_mean(values + 0.4 * rng.normal(size=(seeds, problems))).p < 0.05
    assert 0.72 <= found / runs <= 0.88
