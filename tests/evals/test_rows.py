"""Rows from files and from the hub's loader: places, and every error at once."""

from __future__ import annotations

import json

import pytest
from pydantic import AliasChoices, Field

from evals.tasks.rows import DataErrors, Row, RowModel, list_data_files, read_hub_rows, read_rows, validate_rows

ROWS = [{"id": "a", "n": 1}, {"id": "b", "n": 2}]


class Thing(RowModel):
    id: str
    n: int = Field(ge=0)


def written(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_three_formats_hold_the_same_rows(tmp_path):
    import pyarrow
    import pyarrow.parquet

    array = written(tmp_path, "a.json", json.dumps(ROWS))
    lines = written(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS) + "\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    flaws: list[str] = []
    for path, places in (
        (array, [f"{array}, row 1", f"{array}, row 2"]),
        (lines, [f"{lines}:1", f"{lines}:2"]),
        (tmp_path / "a.parquet", [f"{tmp_path}/a.parquet, row 1", f"{tmp_path}/a.parquet, row 2"]),
    ):
        rows = list(read_rows(path, flaws))
        assert [row.value for row in rows] == ROWS
        assert [row.place for row in rows] == places
    assert flaws == []


def test_a_line_separator_within_a_string_ends_no_line(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"id": "a\u2028b", "n": 1}\n')
    assert next(read_rows(path, [])).value["id"] == "a\u2028b"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "[1,", "a.json: cannot be read (Expecting value: line 1 column 4 (char 3)); get the file again"),
        ("a.json", '{"id": 1}', "a.json: holds {'id': 1} but should hold an array of rows; write [row, row, …]"),
        ("a.json", "[3]", "a.json, row 1: 3 is not a row; write an object with the columns as keys"),
        ("a.jsonl", '{"id": "a"}\n{"id"', "a.jsonl:2: '{\"id\"' is not JSON"),
        ("a.parquet", "PAR2", "a.parquet: cannot be read (Parquet file size is 4 bytes"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, text, told):
    flaws: list[str] = []
    list(read_rows(written(tmp_path, name, text), flaws))
    (flaw,) = flaws
    assert flaw.startswith(f"{tmp_path}/{told}")


def test_every_wrong_row_is_told(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"id": 7, "n": -1}\n{"id": "b", "n": 2}\n{"n": 3, "more": 1}\n')
    flaws: list[str] = []
    good = list(validate_rows(read_rows(path, flaws), Thing, flaws))
    assert [model for _, model in good] == [Thing(id="b", n=2)]
    assert flaws == [
        f"{path}:1: id is 7 but should be a valid string; correct the row",
        f"{path}:1: n is -1 but should be greater than or equal to 0; correct the row",
        f"{path}:3: key 'id' is missing; the row has n, more",
    ]


def test_a_long_list_of_errors_is_cut():
    told = str(DataErrors([f"row {i}" for i in range(25)])).splitlines()
    assert len(told) == 21
    assert told[-1] == "… and 5 more"


def test_the_file_of_a_subset_is_found_where_people_put_it(tmp_path):
    inner = tmp_path / "bench"
    inner.mkdir()
    math, omni = written(inner, "math.json", "[]"), written(inner, "omnimath.json", "[]")
    assert list_data_files(tmp_path, "bench", "math", alone=False) == [math]
    assert list_data_files(inner, "bench", "omnimath", alone=False) == [omni]
    assert list_data_files(omni, "bench", "math", alone=False) == [omni]  # named by the user
    assert list_data_files(tmp_path, "bench", "gsm8k", alone=True) == []
    omni.unlink()
    assert list_data_files(tmp_path, "bench", "gsm8k", alone=True) == [math]
    assert list_data_files(tmp_path, "bench", "gsm8k", alone=False) == []
    math.rename(inner / "math-00000-of-00001.json")
    assert list_data_files(tmp_path, "bench", "math", alone=False) == [inner / "math-00000-of-00001.json"]


def test_the_hubs_loader_gives_rows_by_split(tmp_path, monkeypatch):
    """`datasets` itself, on a repository laid out as on the hub."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "repo" / "data").mkdir(parents=True)
    for split, row in zip(("gsm8k", "math"), ROWS, strict=True):
        written(tmp_path / "repo" / "data", f"{split}-00000-of-00001.jsonl", json.dumps(row) + "\n")
    flaws: list[str] = []
    repo = str(tmp_path / "repo")
    assert [(row.place, row.value) for row in read_hub_rows(repo, "math", flaws)] == [
        (f"{repo} (math), row 1", ROWS[1])
    ]
    assert [row.value for row in read_hub_rows(repo, None, flaws)] == ROWS
    assert flaws == []
    assert list(read_hub_rows(repo, "nosuch", flaws)) == []
    assert flaws[0].startswith(f"{repo} (nosuch): cannot be loaded (")
    assert flaws[0].endswith("; name a local copy (--data-dir, or a file in the study)")


class Renamed(RowModel):
    question: str = Field(validation_alias=AliasChoices("Question", "question"))
    right: str = Field(validation_alias="Correct Answer")


def test_columns_are_told_by_the_names_that_the_data_set_gives_them():
    flaws: list[str] = []
    assert list(validate_rows([Row("here:1", {"Question": "?"})], Renamed, flaws)) == []
    assert flaws == ["here:1: key 'Correct Answer' is missing; the row has Question"]


def test_a_column_that_changed_is_told_with_the_one_that_it_is_like():
    flaws: list[str] = []
    assert list(validate_rows([Row("here:1", {"Question": "?", "Correct answer": "7"})], Renamed, flaws)) == []
    told = (
        "here:1: key 'Correct Answer' is missing (did you mean 'Correct answer'?); the row has Question, Correct answer"
    )
    assert flaws == [told]


def test_what_is_wrong_with_many_rows_in_the_same_way_is_told_once():
    flaws: list[str] = []
    list(validate_rows([Row(f"here:{line}", {"n": 1}) for line in range(1, 1001)], Thing, flaws))
    assert flaws == ["here:1 (and 999 more rows): key 'id' is missing; the row has n"]


def test_of_a_line_without_end_a_bounded_part_is_read(tmp_path, monkeypatch):
    """One byte more than allowed: the line is skipped unread, and the next ones are read."""
    monkeypatch.setattr("evals.tasks.rows.LONGEST_LINE", 2**20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "a", "n": 1}\n"' + b"x" * 5 * 2**20 + b'"\n{"id": "b", "n": 2}\n')
    flaws: list[str] = []
    assert [row.place for row in read_rows(path, flaws)] == [f"{path}:1", f"{path}:3"]
    assert flaws == [f"{path}:2: is longer than 1 MiB; a row is one line of one problem"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b'{"id": "\xff"}\n', "a.jsonl:1: is not UTF-8 (invalid start byte); save the file as UTF-8"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1: "),
        ("a.csv", b"id,n\nb,2,3\n", "a.csv:2: has more fields than the first line names columns"),
        ("a.csv", b'id,n\n"' + b"x" * 200_000 + b'",1\n', "a.csv:2: is not CSV (field larger than field limit"),
        ("a.txt", b"", "a.txt: '.txt' is no kind of file that is read; name one of .json, .jsonl, .parquet, .csv"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    flaws: list[str] = []
    assert list(read_rows(tmp_path / name, flaws)) == []
    (flaw,) = flaws
    assert flaw.startswith(f"{tmp_path}/{told}")


def test_a_file_that_is_not_there_is_told(tmp_path):
    flaws: list[str] = []
    assert list(read_rows(tmp_path / "no.jsonl", flaws)) == []
    assert flaws == [f"{tmp_path}/no.jsonl: there is no such file; correct its name"]


def test_csv_files_have_rows_of_text_and_a_record_may_run_over_lines(tmp_path):
    path = written(tmp_path, "a.csv", 'Question,Correct Answer\n"a\nb",1\nc,"2, or 3"\n')
    first, second = read_rows(path, [])
    assert (first.place, first.value) == (f"{path}:3", {"Question": "a\nb", "Correct Answer": "1"})
    assert (second.place, second.value) == (f"{path}:4", {"Question": "c", "Correct Answer": "2, or 3"})


def test_case_matters_only_where_no_file_is_named_in_the_right_one(tmp_path):
    old = written(tmp_path, "ARC-Challenge-Test.jsonl", "")
    assert list_data_files(tmp_path, "arc", "test", alone=False) == [old]
    new = written(tmp_path, "test.jsonl", "")
    assert list_data_files(tmp_path, "arc", "test", alone=False) == [new]


def test_all_errors_are_kept_though_the_message_is_cut():
    errors = DataErrors([f"row {number}" for number in range(30)])
    assert len(errors.flaws) == 30
    assert str(errors).endswith("row 19\n… and 10 more")
