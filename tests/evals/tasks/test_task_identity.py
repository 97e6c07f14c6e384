"""What decides a task is known without loading it: its settings with all that they include, and its local data."""

from __future__ import annotations

from pathlib import Path

import pytest

import evals.tasks
from evals.tasks import TASKS
from evals.tasks.identity import identify_task

BASE = "repeats: 4\ngeneration_kwargs: {temperature: 0.6}\nprocess_docs: !function some.rows\n"
TASK = "include: _base.yaml\ntask: capo_one\ndataset_kwargs: {folder: one}\n"


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one task, `one`, and what it includes."""
    (tmp_path / "_base.yaml").write_text(BASE)
    (tmp_path / "one.yaml").write_text(TASK)
    (tmp_path / "some.py").write_text("raise SystemExit\n\ndef rows(docs):\n    return docs\n")
    monkeypatch.setattr("evals.tasks.identity.find_task_file", {"one": tmp_path / "one.yaml"}.__getitem__)
    return tmp_path


def settings() -> str:
    return identify_task("one", None)["settings"]


def test_every_shipped_task_has_settings_of_its_own() -> None:
    found = [identify_task(name, None)["settings"] for name in TASKS]
    assert len(set(found)) == len(TASKS)


def test_it_is_the_same_every_time_and_runs_no_code(one: Path) -> None:
    # The module of the function cannot be imported: it is only read.
    assert settings() == settings()
    assert "data" not in identify_task("one", None)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("one.yaml", "folder: one", "folder: two"),
        ("_base.yaml", "repeats: 4", "repeats: 8"),
        ("_base.yaml", "0.6", "0.7"),
        ("_base.yaml", "process_docs: !function some.rows", ""),
    ],
)
def test_a_setting_decides_wherever_it_stands(one: Path, file: str, old: str, new: str) -> None:
    before = settings()
    path = one / file
    path.write_text(path.read_text().replace(old, new))
    assert settings() != before


def test_a_function_decides_by_what_it_does_and_not_by_its_name(one: Path) -> None:
    before = identify_task("one", None)
    text = (one / "some.py").read_text()
    (one / "some.py").write_text(text.replace("return docs", "return docs[:1]"))
    assert identify_task("one", None)["code"] != before["code"]
    (one / "some.py").write_text(text.replace("rows", "lines"))
    (one / "_base.yaml").write_text(BASE.replace("some.rows", "some.lines"))
    assert identify_task("one", None) == before


def test_comments_and_order_do_not_decide(one: Path) -> None:
    before = settings()
    (one / "_base.yaml").write_text("# why\n" + "".join(reversed(BASE.splitlines(keepends=True))))
    assert settings() == before


def test_a_tasks_own_settings_win_over_included_ones(one: Path) -> None:
    (one / "one.yaml").write_text(TASK + "repeats: 2\n")
    own = settings()
    (one / "_base.yaml").write_text(BASE.replace("repeats: 4", "repeats: 16"))
    assert settings() == own


def test_of_several_included_files_the_last_wins(one: Path) -> None:
    (one / "_more.yaml").write_text("repeats: 2\n")
    (one / "one.yaml").write_text(TASK.replace("_base.yaml", "[_base.yaml, _more.yaml]"))
    both = settings()
    (one / "one.yaml").write_text(TASK.replace("_base.yaml", "[_more.yaml, _base.yaml]"))
    assert settings() != both


def test_an_installed_function_is_never_called(one: Path) -> None:
    (one / "_base.yaml").write_text("process_docs: !function os.abort\n")
    assert settings()


def test_a_tag_that_builds_objects_is_refused(one: Path) -> None:
    (one / "_base.yaml").write_text("repeats: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(Exception, match="could not determine a constructor"):
        settings()


def test_local_data_decides_by_its_bytes(one: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "one").mkdir(parents=True)
    file = data / "one" / "test.jsonl"
    file.write_text('{"answer": 1}\n')
    first = identify_task("one", data)
    assert first == identify_task("one", data)
    file.write_text('{"answer": 2}\n')
    second = identify_task("one", data)
    assert second["data"] != first["data"]
    assert second["settings"] == first["settings"]
    (data / "two").mkdir()
    (data / "two" / "test.jsonl").write_text("another task's\n")
    assert identify_task("one", data) == second


def test_data_that_is_drawn_has_no_files(tmp_path: Path) -> None:
    assert "data" not in identify_task("coins_test", tmp_path)
    assert evals.tasks.list_task_files()["coins_test"].exists()
