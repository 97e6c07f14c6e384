"""What is drawn of a data set: as many of each subset, each as erroneous as it stands."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.benchmarks import Problem
from evals.critics.data import STEP_DATA, Selection, check_subsets, divide_equally, draw_solutions
from evals.critics.labels import LabelledSolution, StepLabels
from evals.tasks.rows import DataErrors


def solutions(**subsets: tuple[int, int]) -> list[LabelledSolution]:
    """Return (erroneous, clean) solutions of each subset, erroneous ones first, as ProcessBench has them."""
    return [
        LabelledSolution(
            f"{name}-{i}", name, Problem("p", "?", ""), ("s",), StepLabels(1, frozenset({0} if i < bad else ()), {0})
        )
        for name, (bad, good) in subsets.items()
        for i in range(bad + good)
    ]


def test_as_many_of_each_subset_each_as_erroneous_as_it_stands():
    found = draw_solutions(solutions(a=(75, 25), b=(10, 10), c=(1, 2)), 43, seed=0)
    counts = Counter((s.subset, bool(s.labels.wrong)) for s in found)
    assert counts == {
        ("a", True): 15,
        ("a", False): 5,
        ("b", True): 10,
        ("b", False): 10,
        ("c", True): 1,
        ("c", False): 2,
    }


def test_it_is_a_draw_and_no_prefix_and_keeps_the_order():
    everything = solutions(a=(50, 50))
    first, second = (draw_solutions(everything, 20, seed) for seed in (0, 1))
    assert first != second
    assert first == draw_solutions(everything, 20, 0) == sorted(first, key=everything.index)
    assert first[:10] != everything[:10]


def test_without_a_limit_everything_is_taken():
    everything = solutions(a=(2, 3))
    assert draw_solutions(everything, None, 0) == draw_solutions(everything, 99, 0) == everything


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(0, 60))
def test_shares_are_as_equal_as_the_sizes_allow(sizes, limit):
    taken = divide_equally(sizes, limit)
    assert sum(taken) == min(limit, sum(sizes))
    assert all(0 <= count <= size for count, size in zip(taken, sizes, strict=True))
    for count, size in zip(taken, sizes, strict=True):
        assert count == size or count >= max(taken) - 1


def test_subsets_are_checked_together():
    with pytest.raises(DataErrors) as errors:
        check_subsets("bench", ["maths", "x", "math"], ["math", "gsm8k"])
    assert str(errors.value).splitlines() == [
        "--data bench: unknown subset 'maths' (did you mean 'math'?); known: math, gsm8k",
        "--data bench: unknown subset 'x'; known: math, gsm8k",
    ]
    assert check_subsets("bench", ["math", "math"], ["math", "gsm8k"]) == ("math",)
    assert check_subsets("bench", [], ["math", "gsm8k"]) == ("math", "gsm8k")


@pytest.mark.parametrize("name", STEP_DATA.names())
def test_each_goes_by_its_name(name):
    assert STEP_DATA.get(name).name == name


@pytest.mark.parametrize("name", ["processbench", "prm800k", "prmbench"])
def test_a_folder_without_the_data_is_told(name, tmp_path):
    with pytest.raises(DataErrors, match=f"--data-dir {tmp_path}"):
        STEP_DATA.get(name).load(Selection(source=tmp_path))
