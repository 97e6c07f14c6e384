"""Units and directions of metrics."""

import math

import pytest

from capo_bench.analysis.measures import find_task, format_number, is_better, label, measure, name_unit
from evals.metrics import METRICS


def test_every_metric_of_the_evaluation_is_in_the_table():
    assert all(measure(f"test/{name}").label != name or name in {"accuracy"} for name in METRICS)


@pytest.mark.parametrize(
    ("metric", "difference", "better"),
    [
        ("coins_test/accuracy", 0.1, True),
        ("coins_test/accuracy", -0.1, False),
        ("coins_test/wrong_step_rate", -0.1, True),
        ("coins_test/flawed_right", 0.1, False),
        ("test/maj_at_8", 0.1, True),
        ("coins_test/tokens", 3.0, False),
        ("coins_test/steps", -3.0, None),
        ("coins_test/accuracy", 0.0, None),
        ("coins_test/accuracy", math.nan, None),
        ("test/never_heard_of", 1.0, None),
    ],
)
def test_which_way_is_better(metric, difference, better):
    assert is_better(metric, difference) is better


@pytest.mark.parametrize(
    ("metric", "value", "sign", "shown"),
    [
        ("coins_test/accuracy", 0.1234, False, "12.3"),
        ("coins_test/accuracy", 0.1234, True, "+12.3"),
        ("coins_test/accuracy", -0.1234, True, "−12.3"),
        ("coins_test/accuracy", -0.0001, True, "+0.0"),
        ("coins_test/steps", 6.125, False, "6.12"),
        ("coins_test/accuracy", math.nan, True, "–"),
    ],
)
def test_numbers(metric, value, sign, shown):
    assert format_number(metric, value, sign=sign) == shown


def test_units():
    assert name_unit("coins_test/accuracy") == " %"
    assert name_unit("coins_test/accuracy", difference=True) == " points"
    assert name_unit("coins_test/steps") == ""


def test_labels():
    assert label("coins_longer/accuracy") == "accuracy on coins_longer (%)"
    assert label("aime24/pass_at_8") == "pass@8 on aime24 (%)"
    assert label("coins_longer/steps") == "steps per response on coins_longer"
    assert find_task("coins_longer/steps") == "coins_longer"
