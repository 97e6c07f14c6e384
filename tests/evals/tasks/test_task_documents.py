"""The documents of the tasks: the YAML shown works, alone and from a package, and the table is that of the files."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from rowsof import on_file
from test_catalogue import written

import evals.tasks
from evals.harness.tasks import load_tasks
from evals.tasks import FOLDER, TASKS, list_task_files

DOCS = Path(__file__).parents[3] / "docs"
TABLE = (DOCS / "tasks.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```yaml\n(.*?)```", (DOCS / "how-to-add-benchmark.md").read_text(encoding="utf-8"), re.S)
ROW = r"^\| `(\w+)` \| (\S+?)(?: \((\S+)\))?, (\w+).* \| ([0-9a-f]{40}) \| (\d+) \| (.*) \|$"
CONFIGURED = re.findall(ROW, TABLE, re.M)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of tasks with the YAML that is shown and what it includes."""
    folder = tmp_path / "shown_tasks"
    folder.mkdir()
    (folder / "squares.yaml").write_text(SHOWN[0], encoding="utf-8")
    for name in ("_generated.yaml", "_math.yaml"):
        shutil.copy(FOLDER / name, folder)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "shown_tasks", evals.tasks.GROUP)
    monkeypatch.setattr(evals.tasks, "entry_points", lambda group: [point])
    list_task_files.cache_clear()
    yield
    list_task_files.cache_clear()


def test_the_yaml_shown_is_a_task(package, tmp_path):
    on_file(tmp_path / "data" / "squares", {"question": "3 times 3?", "answer": 9}, {"question": "4?", "answer": 16})
    (task,) = load_tasks(["squares"], data_dir=tmp_path / "data")
    assert (task.name, task.version, task.samples, task.output) == ("squares", "1", 8, "generate")
    assert [(problem.prompt, problem.answer) for problem in task.problems] == [("3 times 3?", "9"), ("4?", "16")]


def test_the_table_holds_every_dataset():
    hub = {name for name in TASKS if "hub" in written(name)["dataset_kwargs"] and not name.endswith("_ll")}
    assert {row[0] for row in CONFIGURED} == hub
    assert all(f"`{name}`" in TABLE for name in TASKS)


@pytest.mark.parametrize("row", CONFIGURED, ids=lambda row: row[0])
def test_a_row_of_the_table_is_what_its_file_says(row):
    name, path, configuration, split, revision, samples, sampling = row
    config = written(name)
    hub = {"path": path, "split": split, "revision": revision, **({"name": configuration} if configuration else {})}
    assert config["dataset_kwargs"]["hub"] == hub
    wanted = config["generation_kwargs"]
    drawn = "greedy" if not wanted["do_sample"] else f"{wanted['temperature']}, {wanted['top_p']}"
    sampled = config["repeats"] if wanted["do_sample"] else 0
    assert (str(sampled), f"{drawn}, {wanted['max_gen_toks']}") == (samples, sampling)


def test_the_yaml_shown_is_short():
    assert len(SHOWN[0].splitlines()) < 10
    assert "process_docs" not in yaml.safe_load(SHOWN[0])
