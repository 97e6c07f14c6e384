import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_bench.track.names import format_mlflow_param, make_mlflow_name, select_mlflow_metrics


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("avg@32", "avg_at_32"),
        ("pass@1", "pass_at_1"),
        ("coins_test/accuracy", "coins_test/accuracy"),
        ("credit.vote", "credit.vote"),
        ("share %", "share _percent"),
        ("accuracy (k=4)", "accuracy _k_4"),
        ("±0.1", "plus_minus_0.1"),
        ("a//b/", "a/b"),
        ("é", "unnamed"),
    ],
)
def test_names_that_mlflow_refuses_are_put_in_words(ours, theirs):
    assert make_mlflow_name(ours) == theirs


@settings(deadline=None)
@given(st.text(max_size=300))
def test_mlflow_takes_every_name(name):
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(make_mlflow_name(name))


def test_what_is_no_finite_number_is_left_out():
    values = {"a@1": 1, "b": math.nan, "c": math.inf, "d": None, "e": "text", "f": 0.5, "g": True}
    assert select_mlflow_metrics(values, "train/") == {"train/a_at_1": 1.0, "train/f": 0.5, "train/g": 1.0}


def test_long_parameters_are_cut():
    assert format_mlflow_param({"name": "noisy"}) == "{'name': 'noisy'}"
    assert len(format_mlflow_param("x" * 7000)) == 6000
    assert format_mlflow_param("x" * 6000) == "x" * 6000
