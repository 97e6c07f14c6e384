"""Statistics on hand-worked matrices, laws of the estimator, and its coverage under a known truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference

from capo_bench.analysis.looks import estimate_difference
from capo_bench.analysis.stats import MeanEstimate, adjust_by_holm, estimate_mean, estimate_terms, lay_out

WORKED = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]])
# Seed means 2 and 5, problem means 2, 3, 5.5, grand mean 3.5.
# s²(seed means) = 4.5, over S = 2: A = 2.25. s²(problem means) = 3.25, over P = 3: B = 1.08333.
# Residuals ±(0.5, 0.5, −1): sum of squares 2 · 1.5 = 3, over 2 degrees of freedom 1.5, over S·P = 6: C = 0.25.
# Var = 2.25 + 1.08333 − 0.25 = 3.08333.
A, B, C = 2.25, 3.25 / 3, 0.25


def test_a_hand_worked_layout():
    found = estimate_mean(WORKED)
    assert (A + B - C) ** 2 / (A**2 / 1 + B**2 / 2 + C**2 / 2) > 1.5
    freedom = 1.5  # not more than this many times the one degree of freedom of two seeds
    half = reference.t.ppf(0.975, freedom) * math.sqrt(A + B - C)
    assert found.mean == 3.5
    assert found.error == pytest.approx(math.sqrt(A + B - C))
    assert found.freedom == pytest.approx(freedom)
    assert (found.low, found.high) == pytest.approx((3.5 - half, 3.5 + half))
    assert (found.seeds, found.problems) == (2, 3)


def test_one_seed_is_the_usual_interval_over_problems_and_says_so():
    scores = [0.0, 1.0, 1.0, 0.0, 1.0]
    found = estimate_mean(np.array([scores]))
    low, high = reference.t.interval(0.95, 4, np.mean(scores), reference.sem(scores))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.one_seed


def test_one_problem_is_the_usual_interval_over_seeds():
    scores = [0.7, 0.72, 0.68]
    found = estimate_mean(np.array(scores)[:, None])
    assert (found.low, found.high) == pytest.approx(reference.t.interval(0.95, 2, 0.7, reference.sem(scores)))


def test_the_p_value_of_one_seed_is_that_of_a_t_test():
    scores = [0.2, -0.1, 0.4, 0.3]
    assert estimate_mean(np.array([scores])).p == pytest.approx(reference.ttest_1samp(scores, 0).pvalue)


def test_a_single_number_has_no_interval():
    found = estimate_mean(np.array([[0.7]]))
    assert found.mean == 0.7
    assert not found.has_interval
    assert math.isnan(found.p)


def test_nothing_observed_is_not_zero():
    found = estimate_mean(np.full((2, 3), np.nan))
    assert math.isnan(found.mean)
    assert (found.seeds, found.problems) == (0, 0)


@pytest.mark.parametrize("shape", [(2, 8), (3, 256), (1, 6), (5, 1)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_any_variation_the_spread_is_that_of_one_cell_that_is_one_off(shape, value):
    found, one_off = estimate_mean(np.full(shape, value)), np.full(shape, value)
    one_off[0, 0] += 1
    assert found.mean == value
    assert found.error == pytest.approx(1 / one_off.size)
    assert (found.error, found.freedom) == pytest.approx((estimate_mean(one_off).error, estimate_mean(one_off).freedom))
    assert found.p == pytest.approx(1.0 if value == 0 else 2 * reference.t.sf(one_off.size, found.freedom))


def test_problems_that_are_right_in_one_of_two_seeds_leave_an_interval_with_a_width():
    """Both seeds have 3 of 6 and every problem 1 of 2, so A = B = 0; MS_rest = 12/4/5, C = MS_rest/12 = 1/20."""
    found = estimate_mean(np.array([[1.0, 0, 1, 0, 1, 0], [0.0, 1, 0, 1, 0, 1]]))
    assert (found.mean, found.error, found.freedom) == (0.5, pytest.approx(math.sqrt(1 / 20)), 1.5)
    assert found.low < -0.3 < 1.3 < found.high
    assert found.p == pytest.approx(2 * reference.t.sf(0.5 / math.sqrt(1 / 20), 1.5))
    assert found.p > 0.15


def test_two_seeds_alike_in_few_problems_are_no_finding():
    """Ahead on each of six problems in both seeds: with one degree of freedom that is not beyond noise."""
    assert estimate_mean(np.ones((2, 6))).p == pytest.approx(2 * reference.t.sf(12, 1))
    assert estimate_mean(np.ones((2, 6))).p > 0.05


def test_an_unscored_cell_is_left_out_not_taken_as_zero():
    gap = WORKED.copy()
    gap[1, 2] = np.nan
    assert estimate_mean(gap).mean == pytest.approx(13 / 5)


def test_degrees_of_freedom_never_fall_below_the_smaller_side():
    """Three terms of 1/36 each would leave 1/(1 + 1/2 + 1/2), half a degree of freedom."""
    found = estimate_mean(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert found.freedom == 1
    assert found.high == pytest.approx((1 + reference.t.ppf(0.975, 1)) / 6)


def test_between_the_bounds_they_are_satterthwaites():
    rng = np.random.default_rng(3)  # a layout of which the formula says 6.36
    values = rng.normal(size=(6, 1)) + 0.3 * rng.normal(size=(1, 6)) + 0.1 * rng.normal(size=(6, 6))
    found, parts = estimate_mean(values), estimate_terms(values)
    spread = parts.seed**2 / 5 + parts.problem**2 / 5 + parts.rest**2 / 25
    assert found.freedom == pytest.approx((parts.seed + parts.problem - parts.rest) ** 2 / spread)
    assert 5 < found.freedom < 7.5


def test_two_seeds_that_agree_are_not_trusted_like_many_problems():
    """Without an upper bound the 200 problems' 199 degrees of freedom would make this p = 0.02."""
    rng = np.random.default_rng(3)
    values = 0.06 + 0.4 * rng.normal(size=(1, 200)) + np.zeros((2, 1))
    found = estimate_mean(values)
    assert found.freedom == 1.5
    assert 2 * reference.t.sf(found.mean / found.error, 199) < 0.05 < found.p


def test_a_problem_that_nobody_scored_changes_nothing():
    wider = np.column_stack([WORKED, [np.nan, np.nan]])
    assert estimate_mean(wider) == estimate_mean(WORKED)


def test_the_variance_is_never_below_any_of_its_terms():
    """Seeds that agree more than chance would pull the formula below the interval over problems alone."""
    values = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert estimate_mean(values).error == 0.5  # both naive terms are 0 here; MS_rest is 1, over 4 cells
    values = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    naive = math.sqrt(np.var(values.mean(axis=0), ddof=1) / 3)
    assert estimate_mean(values).error >= naive


cells = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 6)), elements=st.integers(-5, 5).map(float))


@given(cells, st.permutations(range(4)), st.permutations(range(6)))
def test_the_order_of_seeds_and_problems_does_not_matter(values, seeds, problems):
    rows = [i for i in seeds if i < values.shape[0]]
    columns = [i for i in problems if i < values.shape[1]]
    assert _close(estimate_mean(values), estimate_mean(values[rows][:, columns]))


@given(cells, st.integers(-3, 3))
def test_a_shift_moves_the_interval_and_keeps_its_width(values, by):
    before, after = estimate_mean(values), estimate_mean(values + by)
    assert after.mean == pytest.approx(before.mean + by)
    assert after.error == pytest.approx(before.error, abs=1e-9)


@given(cells)
def test_the_interval_holds_the_mean(values):
    found = estimate_mean(values)
    assert found.low <= found.mean <= found.high
    assert 0 <= found.p <= 1


@given(cells, st.floats(-3, 3))
def test_p_is_below_0_05_where_the_interval_excludes_0_and_nowhere_else(values, by):
    found = estimate_mean(values + by)
    if found.error > 0 and abs(found.p - 0.05) > 1e-9:
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_a_difference_is_paired_so_what_both_share_cancels():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 10, 20)
    base = {s: {str(p): float(hard[p] + rng.normal(0, 0.1)) for p in range(20)} for s in range(3)}
    ours = {s: {p: score + 1 for p, score in row.items()} for s, row in base.items()}
    found = estimate_difference(lay_out(ours), lay_out(base))
    assert found.mean == pytest.approx(1)
    assert found.high - found.low < 0.15  # the cells would spread over tens
    assert found.error == pytest.approx(1 / 60)  # nothing is left to differ: the spread of one cell that is one off
    alone = estimate_mean(lay_out(ours).values)
    assert alone.high - alone.low > 5


def test_a_difference_uses_shared_seeds_and_problems_only():
    ours = {0: {"a": 1.0, "b": 1.0, "x": 9.0}, 1: {"a": 1.0, "b": 0.0}, 7: {"a": 9.0}}
    base = {0: {"a": 0.0, "b": 1.0}, 1: {"a": 0.0, "b": 1.0, "y": -9.0}}
    found = estimate_difference(lay_out(ours), lay_out(base))
    assert (found.mean, found.seeds, found.problems) == (0.25, 2, 2)


def test_without_a_shared_seed_there_is_no_difference():
    assert not estimate_difference(lay_out({0: {"a": 1.0}}), lay_out({1: {"a": 1.0}})).has_interval


def test_holm_on_a_worked_example():
    # Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04 → never falling: .04 .06 .06 .06.
    assert adjust_by_holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_leaves_out_what_is_unknown():
    assert adjust_by_holm([0.02, math.nan, 0.5])[0] == pytest.approx(0.04)
    assert math.isnan(adjust_by_holm([math.nan])[0])
    assert adjust_by_holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_plain_and_the_bonferroni_value(p_values):
    for plain, adjusted in zip(p_values, adjust_by_holm(p_values), strict=True):
        assert plain <= adjusted <= min(1.0, plain * len(p_values)) + 1e-12


@pytest.mark.parametrize(
    ("seed_noise", "problem_noise", "rest"), [(0.05, 0.3, 0.4), (0.0, 0.0, 0.5), (0.2, 0.05, 0.1), (0.0, 0.5, 0.2)]
)
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_95_percent_interval_covers_a_known_truth(seed_noise, problem_noise, rest, seeds):
    """400 studies of 30 problems from the model itself; too narrow is the worse fault, so the band is lopsided."""
    rng, problems, runs = np.random.default_rng(seeds), 30, 400
    hits = 0
    for _ in range(runs):
        values = 0.1 + seed_noise * rng.normal(size=(seeds, 1)) + problem_noise * rng.normal(size=(1, problems))
        found = estimate_mean(values + rest * rng.normal(size=(seeds, problems)))
        hits += found.low <= 0.1 <= found.high
    assert 0.91 <= hits / runs <= 1.0


def test_counting_problems_alone_would_cover_far_too_rarely():
    """Why seeds are in the formula: the usual interval of the pooled samples, under ordinary seed noise."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(200):
        values = 0.1 * rng.normal(size=(3, 1)) + 0.4 * rng.normal(size=(3, 200))
        pooled = values.mean(axis=0)
        low, high = reference.t.interval(0.95, 199, pooled.mean(), reference.sem(pooled))
        hits += low <= 0 <= high
    assert hits / 200 < 0.6


def _close(a: MeanEstimate, b: MeanEstimate) -> bool:
    pairs = zip((a.mean, a.low, a.high, a.error, a.p), (b.mean, b.low, b.high, b.error, b.p), strict=True)
    return all(x == pytest.approx(y, abs=1e-9, nan_ok=True) for x, y in pairs)


def test_scores_are_laid_out_by_seed_and_problem_with_gaps_where_there_is_none():
    found = lay_out({4: {"b": 1.0}, 1: {"b": 0.5, "a": 0.25}})
    assert (found.seeds, found.problems) == ((1, 4), ("a", "b"))
    np.testing.assert_array_equal(found.values, [[0.25, 0.5], [math.nan, 1.0]])
