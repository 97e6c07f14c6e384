"""Values with parts, compared part by part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.verify.walk import Value, compare_values


def leaf(answer: str, reference: str) -> bool | None:
    """Equal text is equal; a question mark cannot be told."""
    return None if "?" in answer + reference and answer != reference else answer == reference


def value(tag: str, *parts: Value) -> Value:
    return (tag, f"{tag}{parts}", parts)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "?", None),
        (value("set", "a", "b"), value("set", "b", "a"), True),
        (value("set", "a", "a"), value("set", "a", "b"), False),
        (value("list", "a", "b", "b"), value("list", "a", "b"), False),
        (value("list", "a", "?"), value("list", "b", "a"), None),
        (value("list", "a", "?"), value("list", "b", "c"), False),
        (value("list", "?", "?"), value("list", "?", "?"), True),
        (value("set", "a", "b"), value("list", "b", "a"), True),
        (value("()", "a", "b"), value("()", "b", "a"), False),
        (value("()", "a", "b"), value("list", "a", "b"), False),
        (value("list", value("=", "y", "b"), value("=", "x", "a")), value("()", "a", "b"), True),
        (value("either", "b", "a"), "a", True),
        (value("either", "b", "?"), "a", None),
        (value("quantity", "n", "a", "b"), "a", False),
        (value("quantity", "n", "a"), "a", True),
        (value("mod", "4", "7"), value("mod", "11", "7"), True),
        (value("mod", "4", "7"), value("mod", "4", "6"), False),
        (value("=", "x", "7k+4"), value("mod", "4", "7"), True),
        ("a", value("mod", "a", "7"), True),
        (value("()", "a", "b"), value("list", "b", "a"), False),
        (value("()", "a", "b"), value("[]", "a", "b"), False),
        (value("[)", "a", "b"), value("(]", "a", "b"), False),
        (value("()", "a", "b"), value("set", "a", "b"), False),
        (value("()", "?", "b"), value("()", "a", "c"), False),
        (value("()", "?", "b"), value("()", "a", "b"), None),
        (value("=", "x", "a"), "a", True),
        ("a", value("=", "x", "a"), True),
        (value("=", "x", "a"), value("=", "x", "a"), True),
        (value("=", "x", "a"), value("=", "y", "a"), False),
        (value("list", "1", "2"), "3", False),  # no parser need look
        (value("list", "1", "2"), "?", False),
        (value("list", "1", "2"), "?, ?", None),
        (value("union", "a", "b"), value("union", "b", "a"), True),
        (value("matrix", value("row", "a"), value("row", "b")), value("matrix", value("row", "a", "b")), False),
        (value("matrix", value("row", "a"), value("row", "b")), value("()", "a", "b"), True),
    ],
)
def test_parts_decide(answer: Value, reference: Value, expected: bool | None) -> None:
    assert compare_values(answer, reference, leaf) is expected


@given(
    st.lists(st.sampled_from("abc?"), max_size=6).flatmap(
        lambda items: st.tuples(st.just(items), st.permutations(items))
    )
)
def test_the_order_of_a_set_is_irrelevant(both: tuple[list[str], list[str]]) -> None:
    assert compare_values(value("set", *both[0]), value("set", *both[1]), leaf) is True


@given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
def test_lists_are_equal_that_hold_the_same_as_often(ours: list[str], theirs: list[str]) -> None:
    assert compare_values(value("list", *ours), value("list", *theirs), leaf) is (sorted(ours) == sorted(theirs))


def test_a_pairing_is_found_where_the_first_fit_is_not_it() -> None:
    close = {("a", "x"), ("a", "y"), ("b", "x")}
    assert (
        compare_values(value("set", "a", "b"), value("set", "x", "y"), lambda one, other: (one, other) in close) is True
    )
