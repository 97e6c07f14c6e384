"""Expected results of k answers to a problem, over every way to take k of the n sampled ones. Exact."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import comb


def pass_at_k(right: int, sampled: int, k: int) -> float:
    """Return the chance that at least one of k answers is right (unbiased, arXiv 2107.03374): 1 − C(n−c, k)/C(n, k).

    Args:
        right: c, right answers among those sampled.
        sampled: n, at least k.
        k: Number of answers taken.

    Raises:
        ValueError: k is not between 1 and n.
    """
    _check(sampled, k)
    return float(1 - Fraction(comb(sampled - right, k), comb(sampled, k)))


def maj_at_k(right: int, others: Sequence[int], silent: int, k: int) -> float:
    """Return the chance that the right answer wins a vote of k answers; m answers that tie win a share of 1/m each.

    Args:
        right: Right answers among those sampled, one class however they are written.
        others: Number of answers of each wrong class.
        silent: Responses without an answer: they are drawn too, but do not vote.
        k: Number of answers taken.

    Raises:
        ValueError: k is not between 1 and the number of all of them.
    """
    _check(right + sum(others) + silent, k)
    return _compute_majority(right, tuple(sorted(others)), silent, k)


def _check(sampled: int, k: int) -> None:
    if not 1 <= k <= sampled:
        raise ValueError(f"k = {k} of {sampled} answers: take from 1 to {sampled} of them")


@lru_cache(maxsize=4096)  # many problems have the same counts: none right, all right, one wrong
def _compute_majority(right: int, others: tuple[int, ...], silent: int, k: int) -> float:
    won = Fraction(0)
    for votes in range(1, min(right, k) + 1):
        # A class with fewer answers than the right one's votes cannot win: its answers count as silent.
        rivals = [size for size in others if size >= votes]
        harmless = silent + sum(others) - sum(rivals)
        for (ties, taken), ways in _count_draws(rivals, votes, k - votes).items():
            won += Fraction(comb(right, votes) * ways * comb(harmless, k - votes - taken), ties + 1)
    return float(won / comb(right + sum(others) + silent, k))


def _count_draws(sizes: Sequence[int], votes: int, room: int) -> dict[tuple[int, int], int]:
    """Count the ways to take up to `votes` answers of each class, at most `room` in all.

    Returns:
        (classes that have just `votes`, answers taken) to the number of ways.
    """
    ways = {(0, 0): 1}
    for size in sizes:
        wider: dict[tuple[int, int], int] = defaultdict(int)
        for (ties, taken), count in ways.items():
            for drawn in range(min(votes, room - taken) + 1):
                wider[ties + (drawn == votes), taken + drawn] += count * comb(size, drawn)
        ways = wider
    return ways
