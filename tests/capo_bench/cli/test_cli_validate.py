"""``capo-bench validate``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from capo_bench.cli import main

GOOD = "name: a\nquestion: Does it?\nbaseline: base\nbase: {method: grpo_rule}\nseeds: [0, 1]\n"


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_valid_files_are_said_to_be(folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD)
    (folder / "b.yaml").write_text(GOOD + "profiles: {full: {seeds: [1, 2, 3]}}\n")
    done = run("validate", "a.yaml", "b.yaml")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["OK a.yaml: quick 2 trials", "OK b.yaml: full 3, quick 2 trials"]


def test_all_errors_of_all_files_are_told(folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD.replace("method: grpo_rule", "methd: grpo_rule").replace("[0, 1]", "[]"))
    (folder / "b.yaml").write_text(GOOD)
    (folder / "c.yaml").write_text("a: [\n")
    done = run("validate", "a.yaml", "b.yaml", "c.yaml", "d.yaml", ".")
    assert done.exit_code == 2
    assert done.stdout == "OK b.yaml: quick 2 trials\n"
    assert [line.split(" ")[0] for line in done.stderr.splitlines()] == [
        ".:",
        "a.yaml:4:",
        "a.yaml:5:",
        "c.yaml:2:",
        "d.yaml:",
    ]
    assert "unknown key 'methd' (did you mean 'method'?)" in done.stderr


def test_a_file_must_be_named() -> None:
    assert run("validate").exit_code == 2


def test_init_writes_a_commented_study_that_is_valid_and_keeps_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "my first.yaml"
    made = CliRunner().invoke(main, ["init", str(file)])
    assert made.exit_code == 0, made.output
    text = file.read_text(encoding="utf-8")
    assert text.count("#") > 10
    assert "name: my-first\n" in text
    valid = CliRunner().invoke(main, ["validate", str(file)], env={"COLUMNS": "300"})
    assert (valid.exit_code, valid.output) == (0, f"OK {file}: small 3, quick 9 trials\n")
    again = CliRunner().invoke(main, ["init", str(file)])
    assert (again.exit_code, "is there already" in again.output) == (2, True)
    assert file.read_text(encoding="utf-8") == text
