"""What is a unit, and what is the value before it."""

import pytest

from evals.verify.text import tidy
from evals.verify.units import do_units_clash, name_unit, split


@pytest.mark.parametrize(
    ("answer", "value", "unit"),
    [
        ("5", "5", None),
        (r"12 \text{ cm}", "12", "cm"),
        (r"12\,\mathrm{cm}", "12", "cm"),
        ("12 cm", "12", "cm"),
        (r"864 \mbox{ inches}^2", "864", "inch^2"),
        (r"864 \text{ square inches}", "864", "inch^2"),
        (r"864 \text{ in}^{2}", "864", "inch^2"),
        (r"\frac{600}{7} \text{km/h}", r"\frac{600}{7}", "km/hour"),
        ("60 miles per hour", "60", "mile/hour"),
        ("60 mph", "60", "mile/hour"),
        (r"5.4 \text{ cents}", "5.4", "cent"),
        ("90^{\\circ}", "90", "degree"),
        ("90°", "90", "degree"),
        ("90 degrees", "90", "degree"),
        (r"\$32,348", "32,348", "dollar"),
        (r"-\$5", "-5", "dollar"),
        ("7 dollars", "7", "dollar"),
        (r"7 \text{ apples}", "7", "apples"),
        ("7 apples", "7", "apples"),
        ("x m", "x m", None),
        ("2m", "2m", None),
        (r"\text{east}", r"\text{east}", None),
        (r"5 \text{ or more}", r"5 \text{ or more}", None),
        ("5 hours and 30 minutes", "11/2", "hour"),
        ("3 cm, 5 cm", "3 cm, 5 cm", None),
        (r"5 \frac{\text{m}}{\text{s}}", "5", "m/second"),
        (r"5 \text{ m}^3/\text{s}", "5", "m^3/second"),
        ("60'", "60'", "arcminute"),
        (r"\text{€}5", "5", "euro"),
        (r"2 \text{ or } 4", r"2 \text{ or } 4", None),
        ("50%", "50%", "percent"),
    ],
)
def test_a_unit_is_cut_off(answer: str, value: str, unit: str | None) -> None:
    assert split(tidy(answer)) == (value, unit)


@pytest.mark.parametrize(
    ("written", "name"),
    [("^{\\circ}", "degree"), ("$cm^2$", "cm^2"), ("minutes", "minute"), ("%", "percent"), ("km", "km")],
)
def test_the_units_of_the_benchmarks_have_one_name(written: str, name: str) -> None:
    assert name_unit(written) == name


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [("cm", "m", True), ("cm", "cm^2", True), ("cm", "cm", False), (None, "cm", False), ("apples", "cm", False)],
)
def test_two_known_units_clash(ours: str | None, theirs: str | None, expected: bool) -> None:
    assert do_units_clash(ours, theirs) is expected
