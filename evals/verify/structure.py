r"""Read an answer as a value with parts (see `walk`): sets, tuples, intervals, unions, lists, matrices, equations.

An answer whose brackets and signs show no parts stays text, for a parser to read.
"""

from __future__ import annotations

import re
from itertools import pairwise

from evals.verify import units
from evals.verify.numbers import compare_numbers, read_based, read_number
from evals.verify.text import is_enclosed, make_key, walk_outside
from evals.verify.walk import Value
from evals.verify.words import changes_value, read_named_set, strip_words

_LEAST_PARTS = 2
_MATRIX = re.compile(
    r"\(?\[?\s*\\begin\{([pbB]?matrix|array)\}(?:\s*\{?[lcr| ]*\}?)?(.*)\\end\{\1\}\s*\]?\)?", re.DOTALL
)
_WORDS = re.compile(
    r"\s*\\text\s*\{[~, ]*(and|or)[~ ]*\}\s*|\s+(and|or)\s+|\\(?:land|wedge|(?P<sign>lor|vee))(?![a-z])"
)
_LETTER = r"(?:\\[A-Za-z]+|[A-Za-z])(?:\s*_\s*(?:\{[^{}]*\}|\w|\\[A-Za-z]+)|'|\^\{?\\prime\}?)*"
_NAME = re.compile(
    rf"\s*(?:{_LETTER}(?:\s*\(\s*{_LETTER}\s*\))?|\(\s*{_LETTER}(?:\s*,\s*{_LETTER})+\s*\)|\\angle[A-Z_0-9{{}} ]+"
    r"|\\text\{[^{}]*\}|[A-Za-z]{3,20})\s*"
)
_FUNCTION = re.compile(r"([A-Za-z])\(([A-Za-z])\)")
_RUN = re.compile(r"\\[A-Za-z]+|[A-Za-z]+")
_MARKED = re.compile(r"\\text\s*\{([^{}]*)\}")
_IMAGINARY = re.compile(r"(?<=[0-9}])(?=i(?![A-Za-z]))|(?<=[0-9}]i)(?=[0-9\\\\(])")
_INDEXED = re.compile(r"(?<![A-Za-z\\])[Ee]\s*_")
_EQUALS = re.compile(r"(?<![<>:\\=])=(?!=)|\\approx(?![A-Za-z])|\\equiv(?![A-Za-z])")
_MEMBER = re.compile(r"\\in(?![A-Za-z])")
_RELATION = re.compile(r"<|>|\\(?:le|ge|ne)(?![A-Za-z])")
_UPWARDS = {"<": "(", "\\le": "["}
_DOWNWARDS = {">": "(", "\\ge": "["}
_MIRRORED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "\\ne": "\\ne"}
_CLOSING = {"(": ")", "[": "]"}
_REAL = r"\\mathbb\s*\{?\s*R\s*\}?"
_IS_REAL = re.compile(rf"{_NAME.pattern}\\in\s*{_REAL}")
_WITHOUT = re.compile(
    rf"(?:{_NAME.pattern}\\in\s*)?{_REAL}\s*(?:\\setminus|-|/)\s*(\S.*)|{_NAME.pattern}\\notin\s*(\S.*)"
)
_FLIPPED = {"(": "[", "[": "(", ")": "]", "]": ")"}
_POINT = re.compile(r"[A-Z]\s*(?=\([^()]*,[^()]*\)$)")
_SYMMETRIC = re.compile(r"\\(?:parallel|perp)(?![A-Za-z])")
_SUCH_THAT = re.compile(rf"\\\{{({_NAME.pattern})(?:\\in\s*\\mathbb\s*\{{?\s*R\s*\}}?\s*)?(?:\||:|\\mid)(.*)\\\}}")
_FRENCH = re.compile(r"(?:^|(?<=\\cup)|(?<=\\in)|(?<==))\s*\]([^\[\],]+,[^\[\],]+)([\[\]])")
_FRENCH_END = re.compile(r"\[([^\[\],]+,[^\[\],]+)\[(?=\s*(?:$|\\cup))")
_MODULUS = re.compile(r"(.*?)[\s,]*\(?\s*\\pmod\s*\{?\s*([0-9]+)\s*\}?\s*\)?")
_VECTOR = re.compile(r"([+-]?)\s*([^+-]*?)\\vec\{([ijk])\}\s*")


def read(answer: str, *, several: bool = False) -> Value:
    """Read an answer as `answers.clean` leaves it; unless commas part `several` values, ``58,500`` is one number."""
    text = _FRENCH.sub(lambda interval: f"({interval[1]}{')' if interval[2] == '[' else ']'}", strip_words(answer))
    return _read_value(_FRENCH_END.sub(r"[\1)", text), several=several)


def _read_value(text: str, *, several: bool = False, inside: bool = False) -> Value:
    """Read bare text; `inside` an ordered bracket a ``±`` is kept."""
    if (marked := _MARKED.fullmatch(text)) and any(sign in "0123456789" for sign in marked[1]):
        text = marked[1].strip()
    text = read_named_set(text)
    text = _POINT.sub("", text, count=1) if not inside else text
    if special := _read_condition(text) or _read_complement(text) or _read_symmetric(text):
        return special
    name, _, amount = text.rpartition("=")
    grouped = read_number(units.split(amount.strip())[0]) and (not name or _NAME.fullmatch(name))
    parts = [text] if grouped and not several else _split(text)
    if len(parts) >= _LEAST_PARTS:
        same = _WORDS.search(text) and all(compare_numbers(parts[0], part) for part in parts[1:])
        return _read_value(parts[0], inside=inside) if same and not several else _read_list("list", text, parts)
    return (
        _read_congruence(text)
        or _read_approximated(text)
        or _read_assigned(text)
        or _read_union(text)
        or _read_such_that(text)
        or _read_bracketed(text)
        or _read_matrix(text)
        or _read_ratio(text)
        or _read_vector(text)
        or _read_leaf(text, inside=inside)
    )


def _read_list(tag: str, text: str, parts: list[str]) -> Value:
    """Values in any order; what stands for two of them (``±``) counts as two."""
    values: list[Value] = []
    for part in parts:
        value = _read_value(part)
        values += value[2] if value[0] == "list" and not isinstance(value, str) else [value]
    return (tag, text, tuple(values))


def _split(text: str) -> list[str]:
    """Cut at the commas, semicolons and words "and", "or" that stand in no bracket."""
    outside = {index for index, _ in walk_outside(text)}
    masked = _WORDS.sub(lambda word: ",".ljust(len(word[0])) if word.start() in outside else word[0], text)
    return [part for part in _cut(masked, [index for index, sign in walk_outside(masked) if sign in ",;"]) if part]


def _cut(text: str, places: list[int], size: int = 1) -> list[str]:
    """Return what stands between signs of `size` characters at `places`."""
    ends = zip([-size, *places], [*places, len(text)], strict=True)
    return [text[start + size : end].strip() for start, end in ends]


def _find_signs(pattern: re.Pattern[str], text: str) -> tuple[list[str], list[str]]:
    """Return the signs that stand in no bracket, and what stands between them."""
    free = {index for index, _ in walk_outside(text)}
    signs = [sign for sign in pattern.finditer(text) if sign.start() in free]
    starts, ends = [0, *(sign.end() for sign in signs)], [*(sign.start() for sign in signs), len(text)]
    return [sign[0] for sign in signs], [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _read_condition(text: str) -> Value | None:
    r"""``x > 2``, ``2 < x \le 5``, ``x < 1 \text{ or } x > 4``: a variable and the interval or union it lies in."""
    conditions = [part for part in _split(text) if not _IS_REAL.fullmatch(part)]
    bounds = [_read_bounds(part) for part in conditions]
    named = [bound for bound in bounds if bound is not None]
    if not named or len({name for name, _ in named}) > 1:
        return None
    name = named[0][0]
    joined = any("or" in word.groups() or word["sign"] for word in _WORDS.finditer(text))
    if excluded := _read_excluded(conditions):
        return ("=", text, (name, excluded))
    points = [
        _read_point(part, name) for part, bound in zip(conditions, bounds, strict=True) if bound is None and joined
    ]
    if None in points or len(named) + len(points) < len(bounds):
        return None
    intervals = [interval for _, each in named for interval in each]
    if len(intervals) == 2 and len(named) == 2 and not joined:
        lows, highs = ([each[end] for each in intervals if "infty" not in each[end][1]] for end in (0, 1))
        if len(lows) != 1 or len(highs) != 1:
            return None
        intervals = [(lows[0], highs[0])]
    elif len(intervals) > 1 and not joined and len(named) > 1:
        return None
    values = [*(_make_interval(low, high) for low, high in intervals), *points]
    return ("=", text, (name, _unite(values)))


def _read_point(text: str, name: str) -> Value | None:
    """Read ``x = 2`` beside inequalities of ``x``, as the set of that value."""
    left, sign, right = text.partition("=")
    value = right.strip()
    return ("set", rf"\{{{value}\}}", (_read_value(value),)) if sign and value and make_key(left) == name else None


def _read_excluded(conditions: list[str]) -> Value | None:
    r"""``x \ne 1, x \ne 2`` and ``x \ne 1, 2``: all numbers but these."""
    values = []
    for part in conditions:
        name, sign, value = part.partition("\\ne")
        if sign and not _NAME.fullmatch(name):
            return None
        values.append(value.strip() if sign else part)
    first = conditions[0].partition("\\ne")
    return _leave_out(values) if first[1] and len(values) >= _LEAST_PARTS else None


def _leave_out(values: list[str]) -> Value | None:
    """Return the union of all numbers but some; None if their order is unknown."""
    numbers = [read_number(value) for value in values]
    if len(values) > 1:
        ordered = sorted((number.value, value) for number, value in zip(numbers, values, strict=True) if number)
        if len(ordered) < len(values):
            return None
        values = [value for _, value in ordered]
    ends = [r"-\infty", *values, r"\infty"]
    return _unite([_make_interval(("(", low), ("(", high)) for low, high in pairwise(ends)])


def _unite(values: list[Value]) -> Value:
    union = ("union", r" \cup ".join(value[1] for value in values), tuple(values))
    return values[0] if len(values) == 1 else union


def _read_complement(text: str) -> Value | None:
    r"""``\mathbb{R} \setminus \{1, 2\}``, ``x \notin [0, 3]``: all real numbers but these."""
    without = _WITHOUT.fullmatch(text)
    if without is None:
        return None
    left_out = _read_bracketed((without[1] or without[2]).strip())
    if left_out is None or isinstance(left_out, str):
        return None
    if left_out[0] == "set":
        return _leave_out([part if isinstance(part, str) else part[1] for part in left_out[2]])
    if left_out[0] not in ("()", "[]", "(]", "[)") or len(left_out[2]) != _LEAST_PARTS:
        return None
    low, high = (part if isinstance(part, str) else part[1] for part in left_out[2])
    below = _make_interval(("(", r"-\infty"), (_FLIPPED[left_out[0][0]], low))
    above = _make_interval((_FLIPPED["(" if left_out[0][1] == ")" else "["], high), ("(", r"\infty"))
    return _unite([value for end, value in ((low, below), (high, above)) if "infty" not in end])


def _read_symmetric(text: str) -> Value | None:
    r"""``AB \parallel CD`` says what ``CD \parallel AB`` says."""
    signs, sides = _find_signs(_SYMMETRIC, text)
    return (signs[0], text, tuple(sides)) if len(signs) == 1 and all(sides) else None


_End = tuple[str, str]  # opening bracket, as of an interval, and bound


def _read_bounds(text: str) -> tuple[str, list[tuple[_End, _End]]] | None:
    """Read one inequality of one variable: its name, and the intervals it leaves."""
    signs, sides = _find_signs(_RELATION, text)
    if len(signs) == 1 and not _NAME.fullmatch(sides[0]):
        signs, sides = [_MIRRORED[signs[0]]], sides[::-1]
    if len(signs) == 2:
        if signs[0] in _DOWNWARDS:
            signs, sides = [_MIRRORED[sign] for sign in signs[::-1]], sides[::-1]
        if not (all(sign in _UPWARDS for sign in signs) and _NAME.fullmatch(sides[1]) and sides[0] and sides[2]):
            return None
        return make_key(sides[1]), [((_UPWARDS[signs[0]], sides[0]), (_UPWARDS[signs[1]], sides[2]))]
    if len(signs) != 1 or not _NAME.fullmatch(sides[0]) or not sides[1] or _EQUALS.search(text):
        return None
    below, above, bound = ("(", r"-\infty"), ("(", r"\infty"), sides[1]
    if signs[0] == "\\ne":
        return make_key(sides[0]), [(below, ("(", bound)), (("(", bound), above)]
    if signs[0] in _UPWARDS:
        return make_key(sides[0]), [(below, (_UPWARDS[signs[0]], bound))]
    return make_key(sides[0]), [((_DOWNWARDS[signs[0]], bound), above)]


def _make_interval(low: _End, high: _End) -> Value:
    tag = low[0] + _CLOSING[high[0]]
    return (
        tag,
        f"{low[0]}{low[1]},{high[1]}{tag[1]}",
        (_read_value(low[1], inside=True), _read_value(high[1], inside=True)),
    )


def _read_such_that(text: str) -> Value | None:
    r"""``\{x : 1 \le x \le 4\}``."""
    builder = _SUCH_THAT.fullmatch(text)
    condition = _read_condition(builder[2].strip()) if builder else None
    return condition[2][1] if builder and condition and condition[2][0] == make_key(builder[1]) else None


def _read_assigned(text: str) -> Value | None:
    r"""``x = 5``, ``f(x) = 2x``, ``(x, y) = (1, 2)``, ``x \in [1, 2]``; quantities: ``m + n = 5``, ``2 + 3 = 5``."""
    sign, sides = _find_signs(_MEMBER, text)
    sides = sides if sign else _find_signs(_EQUALS, text)[1]
    if len(sides) < _LEAST_PARTS or not all(sides) or _find_signs(_RELATION, text)[0] or changes_value(text):
        return None
    if (not _NAME.fullmatch(sides[0]) and _NAME.fullmatch(sides[-1])) or (
        not _is_quantity(sides[0]) and read_number(sides[0]) and _is_quantity(sides[-1])
    ):
        sides = sides[::-1]
    if value := _read_conversion(sides):
        return value
    if _NAME.fullmatch(sides[0]):
        values = [side for side in sides[1:] if not _NAME.fullmatch(side)] or sides[-1:]
        renamed = [_rename(make_key(sides[0]), side) for side in values]
        return ("=", text, (renamed[0][0], *(_read_value(value) for _, value in renamed)))
    if sign or not (_is_quantity(sides[0]) or not any(_has_letters(side) for side in sides)):
        return None
    values = sides[1:] if _is_quantity(sides[0]) else sides
    return ("quantity", text, (make_key(sides[0]), *(_read_value(side) for side in values)))


def _read_conversion(sides: list[str]) -> Value | None:
    """Read ``1011_2 = 11``: each side is the answer, if some name their base and all say the same number."""
    values = [read_based(side) for side in sides]
    plain = [int(side) if re.fullmatch(r"[0-9]{1,60}", side) else None for side in sides]
    same = {value if value is not None else number for value, number in zip(values, plain, strict=True)}
    return ("either", " = ".join(sides), tuple(sides)) if any(values) and len(same) == 1 and None not in same else None


def _read_approximated(text: str) -> Value | None:
    r"""``\\sqrt{2} \\approx 1.41``: either side is the answer, if they can be the same number."""
    exact, sign, decimal = text.rpartition("\\approx")
    exact = _find_signs(_EQUALS, exact)[1][-1]
    if not sign or not exact or _NAME.fullmatch(exact) or _has_letters(exact):
        return None
    value, rounded = read_number(exact), read_number(decimal)
    near = value is None or (rounded is not None and abs(value.value - rounded.value) * 100 <= abs(value.value))
    return (
        ("either", text, (_read_value(exact), _read_value(decimal.strip())))
        if rounded and near and (value or rounded.rounded)
        else None
    )


def _has_letters(text: str) -> bool:
    return bool(re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", text)))


def _is_quantity(side: str) -> bool:
    """Return whether one side of an equation names a quantity: ``AB^2``, ``P(10)``, ``m + n``, but not ``10x``."""
    left = re.sub(r"[_^]\s*(?:\{[^{}]*\}|\\?\w)|\([^()]*\)|\[[^][]*\]", "", side)
    return bool(re.search(r"[A-Za-z\[]", side)) and not re.search(r"[0-9]|^\s*-", left)


def _rename(name: str, value: str) -> tuple[str, str]:
    """Call the variable of a function x: ``f(n) = n`` says what ``f(x) = x`` says."""
    function = _FUNCTION.fullmatch(name)
    if not function or function[2] == "x" or any("x" in run for run in _RUN.findall(value) if run[0] != "\\"):
        return name, value
    renamed = _RUN.sub(lambda run: run[0] if run[0][0] == "\\" else run[0].replace(function[2], "x"), value)
    return f"{function[1]}(x)", renamed


def _read_congruence(text: str) -> Value | None:
    r"""``4 \pmod 7`` and ``x \equiv 4 \pmod 7``."""
    residue = _MODULUS.fullmatch(text)
    if residue is None:
        return None
    sides = _find_signs(_EQUALS, residue[1])[1]
    named = len(sides) == 1 or (len(sides) == 2 and _is_quantity(sides[0]))
    return ("mod", text, (_read_leaf(sides[-1], inside=True), residue[2])) if named and sides[-1] else None


def _read_union(text: str) -> Value | None:
    cuts = [index for index, _ in walk_outside(text) if text.startswith("\\cup", index)]
    return ("union", text, tuple(_read_value(part) for part in _cut(text, cuts, 4))) if cuts else None


def _read_bracketed(text: str) -> Value | None:
    if text.startswith("\\{") and text.endswith("\\}") and is_enclosed(text[1:]):
        inner = text[2:-2]
        return None if re.search(r"\||:|\\mid", inner) else _read_list("set", text, _split(inner))
    if text[:1] not in ("(", "[") or text[-1] not in ")]" or not is_enclosed(text):
        return None
    parts = _split(text[1:-1])
    if len(parts) >= _LEAST_PARTS:
        return (text[0] + text[-1], text, tuple(_read_value(part, inside=True) for part in parts))
    return _read_value(parts[0]) if text[0] + text[-1] in ("()", "[]") and parts else None


def _read_matrix(text: str) -> Value | None:
    matrix = _MATRIX.fullmatch(text)
    if matrix is None or "\\begin" in matrix[2]:
        return None
    rows = [row.strip() for row in matrix[2].split("\\\\") if row.strip()]
    cells = [tuple(_read_value(cell.strip(), inside=True) for cell in row.split("&")) for row in rows]
    return ("matrix", text, tuple(("row", row, cell) for row, cell in zip(rows, cells, strict=True)))


def _read_ratio(text: str) -> Value | None:
    """Three numbers or more, each over the first: ``2:3:5`` is ``4:6:10``."""
    values = [read_number(part) for part in text.split(":")]
    if len(values) <= _LEAST_PARTS or not all(each is not None and each.value for each in values):
        return None
    return (":", text, tuple(str(each.value / values[0].value) for each in values if each and values[0]))


def _read_vector(text: str) -> Value | None:
    r"""``1\vec{i} + 2\vec{j}``: the unit vectors' amounts."""
    terms = list(_VECTOR.finditer(text))
    if not terms or "".join(term[0] for term in terms) != text or len({term[3] for term in terms}) < len(terms):
        return None
    amounts = {term[3]: term[1].replace("+", "") + (term[2].strip() or "1") for term in terms}
    return ("()", text, tuple(amounts.get(axis, "0") for axis in ("ijk" if "k" in amounts else "ij")))


def _read_leaf(text: str, *, inside: bool) -> Value:
    if "\\pm" in text and not inside and "\\pmod" not in text:
        both = [text.replace("\\pm", upper).replace("\\mp", lower) for upper, lower in (("+", "-"), ("-", "+"))]
        return ("list", text, tuple(_read_leaf(value.removeprefix("+").strip(), inside=True) for value in both))
    # math-verify takes i for the imaginary unit only where it stands alone, and cannot read an E with an index.
    return _INDEXED.sub(r"\\xi_", _IMAGINARY.sub(" ", units.split(text)[0]))
