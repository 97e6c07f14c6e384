"""Krippendorff's alpha against the examples of Krippendorff (2011)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.critics.metrics import compute_alpha, estimate_alpha


def counted(*raters: str) -> np.ndarray:
    """Read ratings, one string a rater and one character a unit; a dot is missing."""
    values = sorted(set("".join(raters)) - {"."})
    return np.array([[column.count(value) for value in values] for column in zip(*raters, strict=True)])


def test_section_a_two_observers_of_binary_data():
    assert compute_alpha(counted("0100000010", "1110010000")) == pytest.approx(0.095, abs=5e-4)


def test_section_b_two_observers_of_nominal_data():
    assert compute_alpha(counted("aabbdcccedda", "babbbccceddd")) == pytest.approx(0.692, abs=5e-4)


def test_section_c_four_observers_with_gaps():
    table = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    assert compute_alpha(counted(*table)) == pytest.approx(0.743, abs=5e-4)


def test_full_agreement_is_one_and_even_halves_are_below_chance():
    assert compute_alpha(np.array([[3, 0], [0, 3]])) == 1
    # n = 4, each unit disagrees: 1 - 3 · (2 + 2) / (16 - 8).
    assert compute_alpha(np.array([[1, 1], [1, 1]])) == pytest.approx(-0.5)


@pytest.mark.parametrize("counts", [np.zeros((0, 2), int), np.array([[1, 0], [0, 1]]), np.array([[3, 0], [2, 0]])])
def test_nothing_to_compare(counts):
    assert compute_alpha(counts) is None


def test_its_interval_resamples_whole_groups():
    counts = np.array([[3, 0], [0, 3], [2, 1]] * 10)
    alone = estimate_alpha(counts, [str(unit) for unit in range(30)])
    assert alone.value == compute_alpha(counts)
    assert alone.low < alone.value < alone.high
    # Groups that are all alike leave nothing to vary; one group alone has nothing to resample.
    alike = estimate_alpha(counts, [str(unit // 3) for unit in range(30)])
    assert alike.high - alike.low == pytest.approx(0, abs=1e-12)
    assert estimate_alpha(counts, ["one"] * 30).low is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_it_is_the_pairwise_definition(rows):
    """1 - D_o / D_e with D the share of unlike pairs: within units (each unit's pairs weigh 1/(m - 1)), and overall."""
    kept = [(a, b) for a, b in rows if a + b >= 2]
    total, ones = sum(a + b for a, b in kept), sum(b for _, b in kept)
    expected = 2 * ones * (total - ones) / (total * (total - 1)) if total > 1 else 0
    found = compute_alpha(np.array(rows, dtype=np.int64).reshape(-1, 2))
    if not expected:
        assert found is None
        return
    observed = sum(2 * a * b / (a + b - 1) for a, b in kept) / total
    assert found == pytest.approx(1 - observed / expected)
