"""The crossed bootstrap and the probability of improvement, against definitions, published numbers and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from capo_bench.report.resample import RESAMPLES, bootstrap, drawn, improvement, newcombe, resampled_means, weights
from capo_bench.report.stats import Pair, lay_out, pair

RNG = np.random.default_rng(0)


def paired(ours, theirs) -> Pair:
    ours, theirs = (np.array(side, dtype=float) for side in (ours, theirs))
    seeds, problems = ours.shape
    return Pair(tuple(range(seeds)), tuple(str(p) for p in range(problems)), ours, theirs)


def runs(ours, theirs) -> Pair:
    return paired(np.array(ours)[:, None], np.array(theirs)[:, None])


@pytest.mark.parametrize("gaps", [False, True])
def test_the_weighted_mean_is_the_mean_of_the_resampled_matrix(gaps):
    values = RNG.normal(size=(3, 5))
    if gaps:
        values[1, 2] = values[0, 0] = np.nan
    drawn = weights((0, 1, 2), ("a", "b", "c", "d", "e"), 50)
    for by_seed, by_problem, found in zip(*drawn, resampled_means(values[None], drawn)[0], strict=True):
        rows, columns = (np.repeat(np.arange(len(w)), w.astype(int)) for w in (by_seed, by_problem))
        assert found == pytest.approx(np.nanmean(values[rows][:, columns]))


def test_a_resample_of_nothing_but_gaps_is_unknown():
    values = np.array([[1.0, np.nan], [np.nan, np.nan]])
    drawn = np.array([[0.0, 2.0]]), np.array([[1.0, 1.0]])
    assert math.isnan(resampled_means(values[None], drawn)[0, 0])


def test_every_resample_has_as_many_seeds_and_problems_as_there_are():
    by_seed, by_problem = weights((4, 7, 9), tuple("abcdefgh"))
    assert by_seed.shape == (RESAMPLES, 3)
    assert set(by_seed.sum(axis=1)) == {3}
    assert set(by_problem.sum(axis=1)) == {8}


def test_the_same_names_draw_the_same_and_others_do_not():
    first = weights((0, 1), ("a", "b", "c"))[1]
    drawn.cache_clear()
    assert (weights((0, 1), ("a", "b", "c"))[1] == first).all()
    assert (weights((0, 1), ("a", "b", "d"))[1] != first).any()


def test_any_number_of_sides_is_drawn_each_for_itself_and_two_are_seeds_and_problems():
    three = drawn(((0, 1), ("a", "b", "c"), ("a", "b", "c")), 50)
    assert [side.shape for side in three] == [(50, 2), (50, 3), (50, 3)]
    assert (three[1] != three[2]).any()
    two = drawn(((0, 1), ("a", "b", "c")), 50)
    assert all((one == other).all() for one, other in zip(two, weights((0, 1), ("a", "b", "c"), 50), strict=True))


def test_all_variants_are_resampled_alike_so_their_difference_is_that_of_the_resamples():
    ours, theirs = RNG.normal(size=(3, 6)), RNG.normal(size=(3, 6))
    drawn = weights((0, 1, 2), tuple("abcdef"))
    apart = resampled_means(ours[None], drawn) - resampled_means(theirs[None], drawn)
    assert resampled_means((ours - theirs)[None], drawn) == pytest.approx(apart)


def test_the_bootstrap_of_much_data_agrees_with_the_formula():
    """Seeds without noise of their own, problems many: both are the usual interval over problems."""
    values = np.tile(RNG.normal(0.3, 1, size=400), (4, 1))
    low, high = bootstrap({"much": paired(values, np.zeros_like(values))})["much"]
    half = 1.96 * values[0].std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_without_two_seeds_and_two_problems_there_is_none():
    one_seed, one_problem = paired([[0.1, 0.2]], [[0.0, 0.1]]), runs([0.1, 0.2], [0.1, 0.3])
    assert bootstrap({"seed": one_seed, "problem": one_problem}) == {}


def test_pairs_of_other_seeds_or_problems_or_with_gaps_beside_it_do_not_change_an_interval():
    pairs = {name: paired(RNG.normal(size=(3, 6)), RNG.normal(size=(3, 6))) for name in "abc"}
    pairs["gap"] = paired(np.where(np.arange(18).reshape(3, 6) == 4, np.nan, 1.0), RNG.normal(size=(3, 6)))
    pairs["small"] = paired(RNG.normal(size=(2, 6)), RNG.normal(size=(2, 6)))
    together = bootstrap(pairs)
    assert list(together) == list(pairs)
    for name, found in pairs.items():
        assert together[name] == pytest.approx(bootstrap({name: found})[name])


def test_improvement_is_what_rliable_computes():
    """rliable 1.2.0's `probability_of_improvement` on the same runs: 0.78125."""
    found = improvement(runs([0.5, 0.6, 0.7, 0.9], [0.4, 0.6, 0.5, 0.6]))
    assert (found.value, found.seeds) == (0.78125, 4)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=8), st.data())
def test_improvement_is_the_share_of_mann_and_whitneys_u(ours, data):
    theirs = data.draw(st.lists(st.integers(0, 9), min_size=len(ours), max_size=len(ours)))
    found, swapped = improvement(runs(ours, theirs)), improvement(runs(theirs, ours))
    assert found.value == pytest.approx(mannwhitneyu(ours, theirs).statistic / len(ours) ** 2)
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx(
        (1 - found.value, 1 - found.high, 1 - found.low), abs=1e-9
    )
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert improvement(runs(ours, theirs), lower=True) == swapped


def test_a_run_is_its_mean_over_problems_and_a_gap_is_left_out():
    scores = {0: {"a": 1.0, "b": 0.0}, 1: {"a": 1.0, "b": math.nan}}
    base = {0: {"a": 0.0, "b": 0.0}, 1: {"a": 0.0, "b": 1.0}}
    assert improvement(pair(lay_out(scores), lay_out(base))).value == 1.0  # without the gap's partner, which is 1


def test_three_runs_that_are_all_ahead_are_no_certainty():
    """θ̂ = 1 and S = 3: (1 − θ) = z²·θ·[1 + 2·((1 − θ)/(2 − θ) + θ/(1 + θ))]/9 at the lower end."""
    low, high = newcombe(1.0, 3)
    inside = 1 + 2 * ((1 - low) / (2 - low) + low / (1 + low))
    assert 1 - low == pytest.approx(1.959964**2 * low * inside / 9, abs=1e-6)
    assert 0.4 < low < 0.55
    assert high == 1


def test_more_runs_make_it_narrower():
    widths = [high - low for low, high in (newcombe(0.75, seeds) for seeds in (2, 3, 5, 10, 100))]
    assert widths == sorted(widths, reverse=True)


def test_one_run_says_nothing_of_the_next():
    assert improvement(runs([0.5], [0.4])) is None
