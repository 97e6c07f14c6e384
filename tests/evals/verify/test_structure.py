"""Which parts an answer has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.verify.structure import read


def shape(value: Any) -> Any:
    """Leave out the texts of the wholes."""
    return value if isinstance(value, str) else (value[0], *(shape(part) for part in value[2]))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("x+1", "x+1"),
        ("58,500", "58,500"),
        ("x = 58,500", ("=", "x", "58,500")),
        ("1, -2", ("list", "1", "-2")),
        (r"1 \text{ and } -2", ("list", "1", "-2")),
        ("x=1 or x=3", ("list", ("=", "x", "1"), ("=", "x", "3"))),
        (r"\{1, 2\}", ("set", "1", "2")),
        (r"\left\{1, 2\right\}", ("set", "1", "2")),
        (r"\{x | x > 0\}", ("()", "0", r"\infty")),
        ("(1, 2)", ("()", "1", "2")),
        ("[1, 2)", ("[)", "1", "2")),
        (r"\left(1, 2\right]", ("(]", "1", "2")),
        ("(5)", "5"),
        ("(x+1)(x+2)", "(x+1)(x+2)"),
        ("(1,2), (3,4)", ("list", ("()", "1", "2"), ("()", "3", "4"))),
        (r"(0,9) \cup [36, \infty)", ("union", ("()", "0", "9"), ("[)", "36", r"\infty"))),
        (r"x \in [-2,7]", ("=", "x", ("[]", "-2", "7"))),
        ("f(n) = 2n", ("=", "f(x)", "2x")),
        ("f(n) = nx", ("=", "f(n)", "nx")),
        ("x = 1+2 = 3", ("=", "x", "1+2", "3")),
        ("x + y = 3", ("quantity", "x+y", "3")),
        ("10x = 3", "10x = 3"),
        (r"7 = 3", ("quantity", "7", "7", "3")),
        (r"\sqrt{2} \approx 1.41", ("either", r"\sqrt{2}", "1.41")),
        (r"k \ge 2", ("=", "k", ("[)", "2", r"\infty"))),
        (r"2 < k \le 5", ("=", "k", ("(]", "2", "5"))),
        (r"k > 2 \text{ and } k \le 5", ("=", "k", ("(]", "2", "5"))),
        ("k < 2 or k > 5", ("=", "k", ("union", ("()", r"-\infty", "2"), ("()", "5", r"\infty")))),
        (r"k \ne 2", ("=", "k", ("union", ("()", r"-\infty", "2"), ("()", "2", r"\infty")))),
        ("]2,5]", ("(]", "2", "5")),
        (r"n \equiv 4 \pmod{7}", ("mod", "4", "7")),
        ("4:6:10", (":", "1", "3/2", "5/2")),
        (r"2\mathbf{i} - \mathbf{k}", ("()", "2", "0", "-1")),
        (r"\mathbb{R}", ("()", r"-\infty", r"\infty")),
        (r"1 \pm \sqrt{2}", ("list", r"1 + \sqrt{2}", r"1 - \sqrt{2}")),
        (r"5, \pm 3", ("list", "5", "3", "- 3")),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", ("matrix", ("row", "1", "2"), ("row", "3", "4"))),
        (r"12 \text{ cm}", "12"),
        (r"90^\circ, 60^{\circ}", ("list", "90", "60")),
        (r"\text{025}", "025"),
        (r"\text{east}", r"\text{east}"),
        ("3i", "3 i"),
        ("", ""),
        (")(", ")("),
    ],
)
def test_parts_are_seen_from_brackets_and_commas(answer: str, expected: Any) -> None:
    assert shape(read(answer)) == expected


def test_commas_part_values_where_several_are_asked_for() -> None:
    assert shape(read("58,500", several=True)) == ("list", "58", "500")


@given(st.text(alphabet="()[]{}\\,;=x1 +-|&", max_size=60))
def test_any_text_can_be_read(answer: str) -> None:
    assert shape(read(answer)) is not None
