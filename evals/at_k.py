"""Compute the exact expected results of k answers to a problem, over all ways to choose k of the n sampled answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import comb


def pass_at_k(right: int, sampled: int, k: int) -> float:
    """Return the probability that at least one of k answers is right: 1 − C(n−c, k)/C(n, k).

    This estimate is unbiased (arXiv 2107.03374).

    Args:
        right: c, the number of right answers among the sampled ones.
        sampled: n, at least k.
        k: Number of answers that are chosen.

    Raises:
        ValueError: k is not between 1 and n.
    """
    _check(sampled, k)
    return float(1 - Fraction(comb(sampled - right, k), comb(sampled, k)))


def maj_at_k(right: int, others: Sequence[int], silent: int, k: int) -> float:
    """Return the probability that the right answer wins a vote of k answers.

    In a tie of m answers, each of them wins a share of 1/m.

    Args:
        right: Number of right answers among the sampled ones; they are one class, however they are written.
        others: Number of answers of each wrong class.
        silent: Number of responses without an answer: they can be chosen, but do not vote.
        k: Number of answers that are chosen.

    Raises:
        ValueError: k is not between 1 and the number of all responses.
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
        # A class with fewer answers than the right class has votes cannot win: its answers count as silent.
        rivals = [size for size in others if size >= votes]
        harmless = silent + sum(others) - sum(rivals)
        for (ties, taken), ways in _count_draws(rivals, votes, k - votes).items():
            won += Fraction(comb(right, votes) * ways * comb(harmless, k - votes - taken), ties + 1)
    return float(won / comb(right + sum(others) + silent, k))


def _count_draws(sizes: Sequence[int], votes: int, room: int) -> dict[tuple[int, int], int]:
    """Count the ways to choose up to `votes` answers of each class, and at most `room` in total.

    Returns:
        (number of classes with exactly `votes` answers, number of chosen answers) to the number of ways.
    """
    ways = {(0, 0): 1}
    for size in sizes:
        wider: dict[tuple[int, int], int] = defaultdict(int)
        for (ties, taken), count in ways.items():
            for drawn in range(min(votes, room - taken) + 1):
                wider[ties + (drawn == votes), taken + drawn] += count * comb(size, drawn)
        ways = wider
    return ways
