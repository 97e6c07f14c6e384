"""Hostile characters are named, and texts are bounded."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.inert import for_page
from capo_bench.pages.text import clip_text, format_plain, format_signed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("nul\x00", "nul⟨U+0000⟩"),
        ("\u202eevil", "⟨U+202E⟩evil"),
        ("a\u2028b", "a⟨U+2028⟩b"),
        ("half\ud800", "half⟨U+D800⟩"),
        ("e" + "\u0301" * 9, "e" + "\u0301" * 4),
        ("👩\u200d👧", "👩\u200d👧"),
        ("<b>", "<b>"),
    ],
)
def test_what_steers_is_shown(text, shown):
    assert for_page(text) == shown


@given(st.text(st.characters(), max_size=60))
def test_any_text_can_be_written_and_steers_nothing(text):
    shown = for_page(text)
    shown.encode()
    hidden = {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert hidden <= {*"\n\t\u200c\u200d"}
    assert for_page(shown) == shown


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = "begin" + "x" * 1000 + "Wrong steps: [2]"
    shown = clip_text(text, 100)
    assert shown.startswith("begin")
    assert shown.endswith("Wrong steps: [2]")
    assert "… 921 characters left out …" in shown
    assert len(shown) < 150
    assert clip_text(text, len(text)) == text


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8396, "+0.84"), (-1.0, "−1"), (0.0, "0"), (-0.001, "0"), (10.0, "+10"), (-0.5, "−0.5")]
)
def test_numbers_have_their_sign(value, shown):
    assert format_signed(value) == shown


def test_a_reward_has_no_plus():
    assert [format_plain(value) for value in (2.0, -1.0, 0.75)] == ["2", "−1", "0.75"]
