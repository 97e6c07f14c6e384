"""The command group: help without imports, names with hints, errors of a study as lines and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import capo_bench
from capo_bench.cli import COMMANDS, main

ROOT = Path(capo_bench.__file__).parents[1]
HEAVY = ("torch", "transformers", "trl", "mlflow", "datasets", "matplotlib", "scipy", "math_verify", "sympy", "ray")


def loaded_after(args: list[str], names: tuple[str, ...]) -> str:
    """Run a command in a fresh process and return which of the modules it loaded."""
    code = (
        "import sys\nfrom capo_bench.cli import main\n"
        f"main({args!r}, standalone_mode=False)\n"
        f"print('LOADED', sorted(name for name in {names!r} if name in sys.modules), file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    return done.stderr.strip().splitlines()[-1].removeprefix("LOADED ")


def test_help_loads_nothing() -> None:
    assert loaded_after(["--help"], (*HEAVY, "pydantic", "yaml", "numpy", "rich")) == "[]"


@pytest.mark.parametrize("args", [["validate", "voting"], ["plan", "voting", "--json"], ["plan", "voting"], ["ls"]])
def test_nothing_heavy_is_loaded_to_read_a_study(args: list[str]) -> None:
    assert loaded_after(args, HEAVY) == "[]"


def test_help_names_every_command_with_a_line() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    for name, (_, line) in COMMANDS.items():
        assert any(row.split() == [name, *line.split()] for row in text.splitlines()), name
    assert "Examples:" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert f"capo-bench {name}" in done.output.split("Examples:")[1]


@pytest.mark.parametrize("args", [["plan", "voting"], ["--version"], ["-h"]])
def test_python_m_capo_bench_is_capo_bench(args: list[str], tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "capo_bench", *args]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=True)
    assert "capo-bench" in done.stdout or "voting" in done.stdout


def test_an_unknown_command_is_told_the_nearest() -> None:
    done = CliRunner().invoke(main, ["valdate", "x"])
    assert done.exit_code == 2
    assert "no command 'valdate' (did you mean 'validate'?); known: ls, init, validate" in done.output


def test_without_arguments_help_is_shown() -> None:
    assert "Commands:" in CliRunner().invoke(main, []).output


def test_a_wrong_study_is_told_line_by_line_with_exit_code_2() -> None:
    done = CliRunner().invoke(main, ["plan", "voting", "--set", "train.step=3", "--only", "nobody"])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["--only nobody", "--set train.step=3"]
