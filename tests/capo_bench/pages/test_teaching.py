"""What shared models took to be made has a row each, whatever the number of trials that share it."""

from __future__ import annotations

from dataclasses import replace

from fakehome import FakeHome

from capo_bench.analysis.collect import collect
from capo_bench.pages.tables import build_teaching_table

START = {"key": "aaa", "seconds": 9.0, "cpu_seconds": 8.0, "tokens": 1000.0, "parameters": 10, "train_flops": 6e4}
CRITIC = START | {"key": "bbb", "cpu_seconds": 30.5, "tokens": 4000.0, "train_flops": 2.4e5}


def test_a_row_for_each_model_by_hand(full: FakeHome) -> None:
    runs = collect(full.plan(), full.home).all_runs()[:4]
    taught = [{"cold_start": START}, {"cold_start": START, "critic": CRITIC}, {"cold_start": START}, {}]
    runs = [replace(run, provenance={"taught": one}) for run, one in zip(runs, taught, strict=True)]
    assert build_teaching_table(runs).rows == (
        ("cold start", "3", "8.0", "1,000", "6.00e+04", "2.00e+04"),
        ("embedded critic", "1", "30.5", "4,000", "2.40e+05", "2.40e+05"),
    )


def test_two_models_of_a_kind_are_told_apart_by_their_keys(full: FakeHome) -> None:
    runs = collect(full.plan(), full.home).all_runs()[:2]
    taught = [{"critic": CRITIC}, {"critic": CRITIC | {"key": "ccc"}}]
    runs = [replace(run, provenance={"taught": one}) for run, one in zip(runs, taught, strict=True)]
    assert [row[0] for row in build_teaching_table(runs).rows] == ["embedded critic bbb", "embedded critic ccc"]


def test_without_shared_models_there_is_no_row(full: FakeHome) -> None:
    assert (
        build_teaching_table([replace(run, provenance={}) for run in collect(full.plan(), full.home).all_runs()]).rows
        == ()
    )
