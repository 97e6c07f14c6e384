"""In how few tokens a text can have been sampled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.verify.lengths import count_least

WORDS = frozenset({"a", "b", "ab", "bab", "\n", "\n\n"})


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("", 0),
        ("ab", 1),
        ("abab", 2),  # ab ab, or a bab
        ("ababab", 3),  # ab ab ab, or a bab ab
        ("abbab", 2),
        ("\n\n\n", 2),
        ("éa", 1),  # é may be parts of tokens beside it
    ],
)
def test_by_hand(text: str, least: int) -> None:
    assert count_least(text, WORDS) == least


@given(st.lists(st.sampled_from(sorted(WORDS))))
def test_no_way_to_sample_a_text_takes_fewer(tokens: list[str]) -> None:
    assert count_least("".join(tokens), WORDS) <= len(tokens)
