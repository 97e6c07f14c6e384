"""Compare answers that have parts. Imports nothing of ours: the worker loads this file by its path.

A value is text (a leaf) or a tuple (tag, text, parts): the text as a whole, and its parts as values. Over a pipe the
tuples arrive as lists. Tags: ``set``, ``list`` and ``union`` (any order), ``()``, ``[]``, ``(]``, ``[)``, ``matrix``,
``row`` and ``:`` (in order), ``=`` and ``quantity`` (name and what it is), ``mod`` (residue and modulus),
``either`` (an answer given exactly and rounded).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

Value: TypeAlias = Any
"""``str | tuple[str, str, tuple[Value, ...]]``"""

Leaf: TypeAlias = Callable[[str, str], "bool | None"]
"""Compares the texts of an answer and of a reference; None: it cannot tell."""

_PLAIN = re.compile(r"-?(?:[0-9.]+|\\frac\{[0-9]+\}\{[0-9]+\})")
_UNORDERED = ("set", "list", "union", "\\parallel", "\\perp")
_SEVERAL = re.compile(r"[,;]|\\(?:[{}]|pm|mp|cup|cap|setminus|begin|mid)(?![A-Za-z])")
_INTERVALS = ("()", "[]", "(]", "[)")
_OF_X = re.compile(r"[A-Za-z]\(x\)")
_LINEAR = re.compile(r"([0-9]+)[kmnt]([+-][0-9]+)?|([+-]?[0-9]+)\+([0-9]+)[kmnt]")


def compare_values(answer: Value, reference: Value, leaf: Leaf) -> bool | None:
    """Compare two values part by part; None if it depends on a leaf that could not be compared."""
    tags = {_read_tag(answer), _read_tag(reference)}
    if _read_tag(answer) == "either":
        return _combine_any(compare_values(each, reference, leaf) for each in answer[2])
    if "mod" in tags:
        return _compare_congruent(answer, reference, leaf)
    if tags & {"=", "quantity"}:
        return _compare_assigned(answer, reference, leaf)
    if tags == {"list", "()"}:
        return _compare_named_values(answer, reference, leaf)
    if "" in tags:
        return (
            False
            if ":" in tags or _is_one_and_several(answer, reference)
            else leaf(write_value(answer), write_value(reference))
        )
    return _compare_parts(_flatten(answer, tags), _flatten(reference, tags), leaf)


def _compare_parts(answer: Value, reference: Value, leaf: Leaf) -> bool | None:
    """Compare the parts. An open end is not a closed one; a pair, a set and a bare list are three different things."""
    ours, theirs = _read_tag(answer), _read_tag(reference)
    same_length, tags = len(answer[2]) == len(reference[2]), {ours, theirs}
    # Intervals that an answer lists are a union; what a reference lists could be pairs.
    united = (ours, theirs) == ("list", "union") and all(_read_tag(part) in _INTERVALS for part in answer[2])
    other_kind = ours != theirs and tags != {"set", "list"} and not united
    if (other_kind and tags & {"union", "matrix"}) or (tags == {"union"} and not same_length):
        return leaf(write_value(answer), write_value(reference))
    if other_kind or not same_length:
        return False
    if ours in _UNORDERED:
        return _compare_in_any_order(answer[2], reference[2], leaf)
    return _combine_all(compare_values(part, other, leaf) for part, other in zip(answer[2], reference[2], strict=True))


def write_value(value: Value) -> str:
    """Return a value as it was written."""
    return str(value if isinstance(value, str) else value[1])


def _is_one_and_several(answer: Value, reference: Value) -> bool:
    """Return whether one side is one value and the other has several parts: then no parser is needed."""
    parts, other = (reference, answer) if isinstance(answer, str) else (answer, reference)
    if isinstance(parts, str) or len(parts[2]) < 2:
        return False
    return bool(_PLAIN.fullmatch(other) or (parts[0] in ("list", "set") and not _SEVERAL.search(other)))


def _read_tag(value: Value) -> str:
    return "" if isinstance(value, str) else str(value[0])


def _compare_assigned(answer: Value, reference: Value, leaf: Leaf) -> bool | None:
    """Compare where a side is an assignment: a value equals what it assigns; two assignments must name the same.

    All that an answer says a quantity is must be the reference: ``7 = 3`` is not 3.
    """
    ours, theirs = _read_tag(answer), _read_tag(reference)
    if ours == theirs == "=" and _has_same_name(answer[2][0], reference[2][0]):
        return _combine_all(compare_values(value, reference[2][-1], leaf) for value in answer[2][1:])
    if theirs == "=" and ours not in ("=", "quantity") and "=" not in write_value(answer):
        return compare_values(answer, reference[2][-1], leaf)
    if ours in ("=", "quantity") and theirs not in ("=", "quantity") and "=" not in write_value(reference):
        return _combine_all(compare_values(value, reference, leaf) for value in answer[2][1:])
    return leaf(write_value(answer), write_value(reference))


def _has_same_name(ours: str, theirs: str) -> bool:
    return ours == theirs or ("y" in (ours, theirs) and any(_OF_X.fullmatch(name) for name in (ours, theirs)))


def _compare_named_values(answer: Value, reference: Value, leaf: Leaf) -> bool | None:
    """Compare ``x = 3, y = -2`` with ``(3, -2)``; a list that names nothing is no ordered pair."""
    listed, other = (answer, reference) if _read_tag(answer) == "list" else (reference, answer)
    if any(_read_tag(each) != "=" for each in listed[2]) or len(listed[2]) != len(other[2]):
        return False
    values = [each[2][-1] for each in sorted(listed[2], key=lambda each: str(each[2][0]))]
    sides = (values, other[2]) if listed is answer else (other[2], values)
    return _combine_all(compare_values(ours, theirs, leaf) for ours, theirs in zip(*sides, strict=True))


def _flatten(value: Value, tags: set[str]) -> Value:
    """Return a matrix of one column or row as a tuple where the other side is one; anything else as it is."""
    if (
        tags != {"matrix", "()"}
        or _read_tag(value) != "matrix"
        or (len(value[2]) > 1 and any(len(row[2]) > 1 for row in value[2]))
    ):
        return value
    return ("()", value[1], tuple(cell for row in value[2] for cell in row[2]))


def _compare_congruent(answer: Value, reference: Value, leaf: Leaf) -> bool | None:
    """Compare residues; ``x = 7k + 4`` says ``x`` is 4 modulo 7, and a residue may stand without its modulus."""
    ours, theirs = _read_residue(answer), _read_residue(reference)
    if ours and theirs:
        return ours[1] == theirs[1] and (
            leaf(ours[0], theirs[0]) or _compute_remainder(ours) == _compute_remainder(theirs) is not None
        )
    left, right = (value[2][0] if _read_tag(value) == "mod" else value for value in (answer, reference))
    return compare_values(left, right, leaf)


def _read_residue(value: Value) -> tuple[str, str] | None:
    if _read_tag(value) == "mod":
        return write_value(value[2][0]), str(value[2][1])
    inner = re.sub(r"\s", "", write_value(value[2][-1] if _read_tag(value) == "=" else value))
    linear = _LINEAR.fullmatch(inner)
    return (linear[2] or linear[3] or "0", linear[1] or linear[4]) if linear else None


def _compute_remainder(residue: tuple[str, str]) -> int | None:
    amount, modulus = residue
    return int(amount) % int(modulus) if re.fullmatch(r"[+-]?[0-9]{1,18}", amount) and int(modulus) else None


def _combine_all(verdicts: Any) -> bool | None:
    unknown = False
    for verdict in verdicts:
        if verdict is False:
            return False
        unknown = unknown or verdict is None
    return None if unknown else True


def _combine_any(verdicts: Any) -> bool | None:
    unequal = _combine_all(None if each is None else not each for each in verdicts)
    return None if unequal is None else not unequal


def _compare_in_any_order(answers: Sequence[Value], references: Sequence[Value], leaf: Leaf) -> bool | None:
    """Pair each answer with a reference of its own; None if that depends on leaves that could not be compared."""

    @cache
    def compare(ours: int, theirs: int) -> bool | None:
        return compare_values(answers[ours], references[theirs], leaf)

    if _has_pairing(len(answers), lambda ours, theirs: compare(ours, theirs) is True):
        return True
    return None if _has_pairing(len(answers), lambda ours, theirs: compare(ours, theirs) is not False) else False


def _has_pairing(size: int, fits: Callable[[int, int], bool]) -> bool:
    """Return whether every answer gets a reference of its own, by augmenting paths."""
    taken: dict[int, int] = {}

    def place(ours: int, tried: set[int]) -> bool:
        for theirs in range(size):
            if theirs not in tried and fits(ours, theirs):
                tried.add(theirs)
                if theirs not in taken or place(taken[theirs], tried):
                    taken[theirs] = ours
                    return True
        return False

    return all(place(ours, set()) for ours in range(size))
