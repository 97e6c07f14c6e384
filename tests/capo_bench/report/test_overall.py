"""Accuracy over several tasks: worked numbers, a bootstrap by hand, laws, and how often intervals hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import trim_mean

from capo_bench.report import overall as module
from capo_bench.report.overall import Overall, interquartile_mean, middle
from capo_bench.report.resample import RESAMPLES, drawn, resampled_means, weights
from capo_bench.report.stats import lay_out

NAN = math.nan


def scored(*rows, seeds=None, prefix="p"):
    """Return one task's scores: a row a seed, a number a problem."""
    seeds = range(len(rows)) if seeds is None else seeds
    return {s: {f"{prefix}{n}": float(x) for n, x in enumerate(row)} for s, row in zip(seeds, rows, strict=True)}


def overall(study, against):
    return module.overall({name: [*map(lay_out, tasks)] for name, tasks in study.items()}, against)


def random_study(seeds=3, problems=(8, 5), variants=("a", "b"), seed=0):
    rng = np.random.default_rng(seed)
    return {name: [scored(*rng.integers(0, 2, (seeds, size))) for size in problems] for name in variants}


def test_the_middle_half_of_six_is_the_two_inner_ones_and_half_of_their_neighbours():
    assert middle(6) == pytest.approx([0, 1 / 6, 1 / 3, 1 / 3, 1 / 6, 0])
    assert interquartile_mean(np.array([[90.0, 30, 60], [10, 50, 20]])) == pytest.approx((10 + 30 + 50 + 30) / 3)


def test_the_middle_half_of_nine_is_four_and_a_half():
    assert middle(9) == pytest.approx([0, 0, 1 / 6, 2 / 9, 2 / 9, 2 / 9, 1 / 6, 0, 0])


@pytest.mark.parametrize(("count", "found"), [(1, [1]), (2, [0.5, 0.5]), (4, [0, 0.5, 0.5, 0])])
def test_of_few_numbers(count, found):
    assert middle(count) == pytest.approx(found)


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=40).map(lambda values: values[: len(values) // 4 * 4]))
def test_with_a_multiple_of_four_it_is_scipys_and_rliables_trimmed_mean(values):
    assert interquartile_mean(np.array(values)) == pytest.approx(trim_mean(values, 0.25), abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_weights_are_one_together_and_symmetric_and_the_mean_is_between_the_quartiles(values):
    assert middle(len(values)).sum() == pytest.approx(1)
    assert middle(len(values)) == pytest.approx(middle(len(values))[::-1])
    low, high = np.quantile(values, [0.25, 0.75], method="inverted_cdf")
    assert low - 1e-9 <= interquartile_mean(np.array(values)) <= high + 1e-9


# Accuracies, seeds × tasks: ours .9 .5 | .7 .3 | .8 .1, theirs .6 .4 | .6 .2 | .6 .0.
OURS = [
    scored([1] * 9 + [0], [1] * 7 + [0] * 3, [1] * 8 + [0] * 2),
    scored([1] * 5 + [0] * 5, [1] * 3 + [0] * 7, [1] + [0] * 9, prefix="q"),
]
THEIRS = [
    scored(*[[1] * 6 + [0] * 4] * 3),
    scored([1] * 4 + [0] * 6, [1] * 2 + [0] * 8, [0] * 10, prefix="q"),
]


def test_a_study_by_hand():
    found = overall({"capo": OURS, "grpo": THEIRS}, {"capo": "grpo"})
    assert found["capo"].value.mean[0] == pytest.approx((0.9 + 0.7 + 0.8 + 0.5 + 0.3 + 0.1) / 6)
    # Sorted: .1 .3 | .5 .7 | .8 .9; half of .3 and of .8 count.
    assert found["capo"].value.iqm[0] == pytest.approx((0.15 + 0.5 + 0.7 + 0.4) / 3)
    # Sorted: 0 .2 | .4 .6 | .6 .6.
    assert found["grpo"].value.iqm[0] == pytest.approx((0.1 + 0.4 + 0.6 + 0.3) / 3)
    versus = found["capo"].versus
    assert versus.mean[0] == pytest.approx((0.3 + 0.1 + 0.2 + 0.1 + 0.1 + 0.1) / 6)
    assert versus.iqm[0] == pytest.approx((1.75 - 1.4) / 3)
    assert (versus.seeds, versus.problems) == (3, (10, 10))
    assert found["grpo"].versus is None


def by_hand(tasks, resample):
    """Return mean and interquartile mean of one resample, by picking rows and columns one by one."""
    seeds = sorted(tasks[0])
    names = [sorted(task[seeds[0]]) for task in tasks]
    by_seed, *by_problem = drawn((tuple(seeds), *map(tuple, names)))
    picked = [seed for seed, times in zip(seeds, by_seed[resample], strict=True) for _ in range(int(times))]
    runs = []
    for task, own, counts in zip(tasks, names, by_problem, strict=True):
        columns = [name for name, times in zip(own, counts[resample], strict=True) for _ in range(int(times))]
        runs += [np.nanmean([task[seed][name] for name in columns]) for seed in picked]
    return np.mean(runs), interquartile_mean(np.array(runs))


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("gaps", [False, True])
def test_a_resample_draws_seeds_once_for_all_tasks_and_problems_within_each(gaps):
    study = random_study()
    if gaps:  # Of both, as a difference leaves out what either lacks.
        for tasks in study.values():
            tasks[1][2]["p3"] = tasks[0][0]["p0"] = NAN
    found = overall(study, {"a": "b"})["a"]
    ours, theirs = (np.array([by_hand(study[name], r) for r in range(RESAMPLES)]) for name in "ab")
    for shown, draws in ((found.value, ours), (found.versus, ours - theirs)):
        ends = np.quantile(draws[~np.isnan(draws).any(axis=1)], [0.025, 0.975], axis=0)
        assert (shown.mean[1:], shown.iqm[1:]) == (pytest.approx(ends[:, 0]), pytest.approx(ends[:, 1]))


def test_the_mean_over_one_task_is_the_crossed_bootstrap():
    values = np.random.default_rng(1).normal(size=(4, 6))
    found = overall({"a": [scored(*values)]}, {})["a"].value
    (means,) = resampled_means(values[None], weights((0, 1, 2, 3), tuple(f"p{n}" for n in range(6))))
    assert found.mean == pytest.approx((values.mean(), *np.quantile(means, [0.025, 0.975])))


def test_a_task_counts_as_much_with_few_problems_as_with_many():
    study = {"a": [scored([1, 1], [1, 1]), scored([0] * 50, [0] * 50)]}
    assert overall(study, {})["a"].value.mean[0] == 0.5


def test_a_difference_is_on_the_seeds_and_problems_that_both_have():
    ours = [scored([1, 1], [1, 0], [0, 0]), scored([1, 1], [1, 1], [0, 0])]
    theirs = [scored([0, 0], [0, NAN], [1, 1], seeds=(0, 1, 7)), scored([0, 1], [0, 1], [1, 1], seeds=(0, 1, 7))]
    found = overall({"a": ours, "b": theirs}, {"a": "b"})["a"]
    assert (found.value.seeds, found.versus.seeds) == (3, 2)
    # Ours on seeds 0 and 1: 1, 1 (its second problem left out), 1, 1; theirs: 0, 0, ½, ½.
    assert found.versus.mean[0] == pytest.approx(1 - 0.25)


def test_a_seed_that_lacks_a_task_is_left_out():
    tasks = [scored([1, 0], [1, 1], [0, 0]), scored([1, 0], [0, 0])]
    tasks[1][2] = {"p0": NAN, "p1": NAN}
    found = overall({"a": tasks}, {})["a"].value
    assert (found.seeds, found.problems, found.mean[0]) == (2, (2, 2), (0.5 + 1 + 0.5 + 0) / 4)


def test_a_problem_that_no_seed_has_is_no_problem():
    tasks = [scored([1, 0, NAN], [1, 1, NAN]), scored([1, 0], [0, 0])]
    assert overall({"a": tasks, "b": [scored([1, 0, 1], [1, 1, 1]), tasks[1]]}, {})["a"].value.problems == (2, 2)


def test_what_cannot_be_drawn_anew_or_lacks_a_task_is_not_shown():
    lone = [scored([1]), scored([0])]
    assert overall({"lone": lone, "empty": [scored([1, 0]), {}]}, {}) == {}
    assert overall({}, {}) == {}


def test_one_seed_has_an_interval_of_its_problems():
    found = overall(random_study(seeds=1), {"a": "b"})["a"]
    assert found.value.mean[1] < found.value.mean[0] < found.value.mean[2]


def test_pairs_that_share_no_seed_have_no_difference():
    study = {"a": [scored([1, 0], [0, 1])] * 2, "b": [scored([1, 0], [1, 1], seeds=(5, 6))] * 2}
    assert overall(study, {"a": "b"})["a"].versus is None


def test_equal_variants_have_no_difference_in_any_resample_and_others_do_not_matter():
    study = random_study()
    study["b"] = study["a"]
    found = overall(study, {"a": "b"})["a"]
    assert (found.versus.mean, found.versus.iqm) == ((0, 0, 0), (0, 0, 0))
    assert overall(study | random_study(variants=("c",), seed=9), {"a": "b"})["a"] == found


@pytest.mark.parametrize(("seed", "more"), [(1, 0.5), (2, -0.25)])
def test_what_adds_the_same_everywhere_adds_it_to_both(seed, more):
    study = random_study(seed=seed)
    study["c"] = [{s: {p: x + more for p, x in row.items()} for s, row in task.items()} for task in study["a"]]
    before, after = overall(study, {"a": "b"})["a"], overall(study, {"c": "b"})["c"]
    moved = [(x.mean, x.iqm) for one in (before, after) for x in (one.value, one.versus)]
    for old, new in zip(moved[:2], moved[2:], strict=True):
        assert np.array(new) == pytest.approx(np.array(old) + more)


# Simulated studies: three tasks, five seeds whose luck is the same on every task.
STUDIES, SEEDS, PROBLEMS, LUCK, LEVELS, GAIN = 100, 5, 64, 0.3, (1.0, 0.0, -1.0), 0.5


def simulated(rng: np.random.Generator) -> Overall:
    luck, study = LUCK * rng.normal(size=(2, SEEDS, 1)), {"ours": [], "theirs": []}
    for level in LEVELS:
        ease = rng.normal(size=(1, PROBLEMS))
        for name, gain, own in zip(study, (GAIN, 0.0), luck, strict=True):
            chance = 1 / (1 + np.exp(-(level + gain + ease + own)))
            study[name].append(scored(*(rng.random(chance.shape) < chance)))
    return overall(study, {"ours": "theirs"})["ours"]


def truths() -> tuple[float, float]:
    """Return the true difference of means and of interquartile means, of all seeds and problems, by quadrature."""
    points, mass = np.polynomial.hermite_e.hermegauss(40)
    luck = LUCK * ndtri((np.arange(400) + 0.5) / 400)[:, None]
    runs = [[1 / (1 + np.exp(-(level + gain + points + luck))) @ mass for level in LEVELS] for gain in (GAIN, 0.0)]
    means, iqms = ([kind(np.array(side) / mass.sum()) for side in runs] for kind in (np.mean, interquartile_mean))
    return means[0] - means[1], iqms[0] - iqms[1]


def test_the_intervals_of_five_seeds_hold_the_truth_about_nine_times_in_ten():
    rng, true = np.random.default_rng(0), truths()
    found = [simulated(rng).versus for _ in range(STUDIES)]
    for place, kind in enumerate(("mean", "iqm")):
        hits = np.mean([getattr(one, kind)[1] <= true[place] <= getattr(one, kind)[2] for one in found])
        assert hits >= 0.90 - 3 * math.sqrt(0.09 / STUDIES)
