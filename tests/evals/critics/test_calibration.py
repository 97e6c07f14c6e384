"""Calibration of shares of votes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.critics.metrics import Bin, Calibration, measure_calibration


def test_by_hand():
    shares = np.array([0.0, 0.0, 0.5, 0.5, 1.0])
    wrong = np.array([False, True, True, True, True])
    found = measure_calibration(shares, wrong, 2)
    assert found.bins == (Bin(2, 0, 0.5), Bin(2, 0.5, 1), Bin(1, 1, 1))
    # (2 · .5 + 2 · .5 + 1 · 0) / 5, and (0 + 1 + .25 + .25 + 0) / 5.
    assert (found.error, found.brier) == pytest.approx((0.4, 0.3))


def test_a_share_with_abstentions_joins_the_nearest():
    found = measure_calibration(np.array([1 / 3, 0.25]), np.array([True, False]), 4)
    assert found.bins == (Bin(2, pytest.approx((1 / 3 + 1 / 4) / 2), 0.5),)


def test_many_votes_share_ten_bins():
    shares = np.arange(33) / 32
    assert len(measure_calibration(shares, shares > 0.5, 32).bins) == 11


def test_no_steps():
    assert measure_calibration(np.zeros(0), np.zeros(0, bool), 8) == Calibration(0, (), None, None)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1))
def test_both_errors_are_shares_and_bins_hold_every_step(rows):
    shares, wrong = np.array([votes / 4 for votes, _ in rows]), np.array([label for _, label in rows])
    found = measure_calibration(shares, wrong, 4)
    assert sum(part.steps for part in found.bins) == found.steps == len(rows)
    assert 0 <= found.error <= 1
    assert 0 <= found.brier <= 1


@given(st.lists(st.booleans(), min_size=1))
def test_shares_that_are_the_labels_are_calibrated(wrong):
    found = measure_calibration(np.array(wrong, dtype=float), np.array(wrong), 1)
    assert (found.error, found.brier) == (0, 0)
