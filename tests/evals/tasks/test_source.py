"""Where rows come from: local folders, the hub's loader, and coins; each says so, and what is in its way."""

from __future__ import annotations

import pytest
from rowsof import on_file

from evals.coins import COINS
from evals.tasks.source import drawn, rows

ROWS = ({"id": 1, "problem": "?"}, {"id": 2, "problem": "!"})


def test_a_local_folder(tmp_path):
    written = on_file(tmp_path / "squares", *ROWS)
    raw = rows(folder="squares", hub={}, data_dir=tmp_path)["test"]
    assert [row.value for row in raw.rows] == written
    assert [row.place for row in raw.rows] == [f"{tmp_path}/squares/test.jsonl:{line}" for line in (1, 2)]
    assert (raw.benchmark, raw.source, raw.flaws) == ("squares", "squares/test.jsonl", [])


def test_all_shards_of_a_file_are_read_in_order(tmp_path):
    on_file(tmp_path / "squares", *ROWS)
    (tmp_path / "squares" / "test.jsonl").rename(tmp_path / "squares" / "test-00001-of-00002.jsonl")
    on_file(tmp_path / "squares", {"id": 0, "problem": "first"})
    (tmp_path / "squares" / "test.jsonl").rename(tmp_path / "squares" / "test-00000-of-00002.jsonl")
    raw = rows(folder="squares", hub={}, data_dir=tmp_path)["test"]
    assert [row.value["id"] for row in raw.rows] == [0, 1, 2]
    assert raw.source == "squares/test-00000-of-00002.jsonl, squares/test-00001-of-00002.jsonl"


@pytest.mark.parametrize("folder", ["squares", "cubes"])
def test_a_folder_without_the_test_problems_is_told_and_no_other_folder_is_searched(tmp_path, folder):
    on_file(tmp_path / "others", *ROWS)
    (tmp_path / "squares").mkdir()
    raw = rows(folder=folder, hub={}, data_dir=tmp_path)["test"]
    assert raw.rows == []
    assert raw.flaws == [
        f"{tmp_path / folder}: no file of the test problems; it is expected as test.jsonl, .json, .parquet or .csv, or "
        "as the only file of the folder"
    ]


def test_what_lm_eval_knows_besides_does_no_harm(tmp_path):
    on_file(tmp_path / "squares", *ROWS)
    asked = {"folder": "squares", "hub": {"path": "p", "split": "s", "revision": "r"}, "data_dir": str(tmp_path)}
    raw = rows(**asked, version=1, pretrained="m", revision="main", config_source="…")["test"]
    assert len(raw.rows) == 2


def test_the_hub_s_loader(tmp_path):
    """A folder stands in for a dataset of the hub: the loader is the same, and it asks nobody."""
    on_file(tmp_path / "squares", *ROWS)
    path = str(tmp_path / "squares")
    raw = rows(folder="squares", hub={"path": path, "split": "test"})["test"]
    assert [row.value for row in raw.rows] == list(ROWS)
    assert raw.rows[1].place == f"{path} (test), row 2"
    assert raw.source == f"{path} (test) at its newest revision"


def test_what_the_hub_refuses_is_told(tmp_path):
    raw = rows(folder="squares", hub={"path": str(tmp_path / "none"), "split": "test"})["test"]
    assert raw.rows == []
    assert len(raw.flaws) == 1
    assert raw.flaws[0].endswith("name a local copy (--data-dir, or a file in the study)")


def test_coins_are_drawn():
    raw = drawn(benchmark="coins", split="longer", problems=3, version=1)["test"]
    assert [(row.value["id"], row.value["problem"], row.value["answer"]) for row in raw.rows] == [
        (problem.id, problem.prompt, problem.answer) for problem in COINS.problems("longer", 3)
    ]
    assert raw.source == "coins (longer), drawn"
