"""The rule that says when a gain is only sharpening, against cases worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from summaries import around

from capo_bench.analysis.sharpening import SharpeningEvidence, find_narrowing, judge
from capo_bench.analysis.stats import estimate_mean


def evidence(
    average: float, greedy: float, majority: float, *coverage: float, half: float = 0.03
) -> SharpeningEvidence:
    """Return differences with intervals of ± half; coverage at k = 1, 2, 4, …"""
    passed = {2**place: around(mean, half) for place, mean in enumerate(coverage)}
    return SharpeningEvidence(around(average, half), around(greedy, half), around(majority, half), passed)


@pytest.mark.parametrize(
    ("given_", "verdict", "reason"),
    [
        # Old coins: +28 points at temperature 1, and the start is perfect greedily.
        (
            evidence(0.28, -0.08, -0.05, 0.28, 0.2, 0.1, 0.0),
            "only sharpening",
            "start's greedy answers are better than its greedy ones",
        ),
        # Its greedy answers are better, but a vote of its samples gives the same.
        (
            evidence(0.28, 0.20, 0.01, 0.28, 0.2, 0.1, 0.0),
            "only sharpening",
            "start's majority answers are as good",
        ),
        # Misconceptions: +31 at temperature 1, greedy 23 to 87, majority likewise.
        (evidence(0.31, 0.64, 0.62, 0.31, 0.25, 0.1, 0.02), "more than sharpening", "beat the start's greedy answers"),
        # A greedy gain alone is a gain too.
        (evidence(0.01, 0.10, 0.08, 0.01, 0.0, 0.0, 0.0), "more than sharpening", "beat the start's greedy answers"),
        # The start solves more with enough tries: from k = 4 on, beyond noise at 8.
        (evidence(0.31, 0.64, 0.62, 0.31, 0.1, -0.01, -0.06), "only sharpening", "from k = 4 on the start's pass@k"),
        # No gain: nothing to explain.
        (evidence(0.02, 0.01, 0.02, 0.02, 0.0, 0.0, 0.0), "cannot be told", "no gain over the start beyond noise"),
        (evidence(-0.3, -0.2, -0.2, -0.3, -0.3, -0.3, -0.3), "cannot be told", "no gain over the start beyond noise"),
        # The start's greedy answers may be as good or 30 points worse: the gain of 25 fits in.
        (
            replace(evidence(0.25, 0.1, 0.3, 0.2), greedy=around(0.1, 0.2)),
            "cannot be told",
            "may be none or as large as its gain",
        ),
        # One of the two comparisons is wide, the other leaves no room: the second decides.
        (
            replace(evidence(0.5, 0.35, 0.0, 0.5), greedy=around(0.35, 0.55), majority=around(-0.02, 0.03)),
            "only sharpening",
            "start's majority answers are as good",
        ),
        (replace(evidence(0.3, 0.6, 0.6, 0.3), majority=None), "cannot be told", "at least two sampled ones of both"),
        (replace(evidence(0.3, 0.6, 0.6, 0.3), majority=around(0.6, 0.03, seeds=1)), "cannot be told", "one seed"),
        (replace(evidence(0.3, 0.6, 0.6), coverage={8: around(-0.6, 0.03, seeds=1)}), "cannot be told", "one seed"),
        (
            replace(evidence(0.3, 0.6, 0.6), greedy=replace(around(0.6, 0.03), problems=1)),
            "cannot be told",
            "one problem",
        ),
        (replace(evidence(0.3, 0.6, 0.6, 0.3), greedy=around(0.6, 0.03, seeds=1)), "cannot be told", "one seed"),
    ],
)
def test_the_verdict_by_hand(given_: SharpeningEvidence, verdict: str, reason: str) -> None:
    found = judge(given_)
    assert found.verdict == verdict
    assert reason in found.reason


@pytest.mark.parametrize(
    ("means", "half", "expected"),
    [
        ([0.2, 0.1, -0.02, -0.06], 0.03, 4),
        ([0.2, -0.01, -0.02, -0.06], 0.03, 2),
        ([0.2, -0.1, 0.01, -0.06], 0.03, 8),  # above again at 4: from 8 on alone
        ([0.2, 0.1, -0.02, -0.06], 0.07, None),  # within noise at 8
        ([0.2, -0.3, -0.3, 0.0], 0.03, None),
        ([-0.2], 0.03, 1),
        ([], 0.03, None),
    ],
)
def test_coverage_narrows_from_the_k_after_which_the_start_stays_above(
    means: list[float], half: float, expected: int | None
) -> None:
    assert find_narrowing({2**place: around(mean, half) for place, mean in enumerate(means)}) == expected


def test_the_numbers_of_two_seeds_and_four_problems_by_hand() -> None:
    """Greedy: the variant has all, the start none. Of two samples each, the start has one problem of four once."""
    variant, start = np.ones((3, 40)), np.zeros((3, 40))
    votes = start.copy()
    votes[:, :10] = 0.5
    greedy, majority = estimate_mean(variant - start), estimate_mean(variant - votes)
    found = judge(SharpeningEvidence(estimate_mean(variant - votes), greedy, majority, {1: majority, 2: majority}))
    assert (greedy.mean, majority.mean) == (1.0, 0.875)
    assert found.verdict == "more than sharpening"


numbers = st.floats(-1, 1)


@given(st.tuples(numbers, numbers, numbers), st.lists(numbers, max_size=5), st.floats(0.001, 0.5))
def test_a_verdict_never_contradicts_its_numbers(
    main: tuple[float, float, float], coverage: list[float], half: float
) -> None:
    found = judge(evidence(*main, *coverage, half=half))
    average, greedy, majority = (mean - half for mean in main)
    gained = average > 0 or greedy > 0
    assert (found.verdict == "cannot be told") or gained
    if found.verdict == "more than sharpening":
        assert min(greedy, majority) > 0
        assert find_narrowing(found.evidence.coverage) is None
    if found.verdict == "only sharpening" and find_narrowing(found.evidence.coverage) is None:
        assert min(greedy, majority) <= 0
