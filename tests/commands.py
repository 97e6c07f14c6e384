"""The command line, as tests call it in a folder of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from capo_bench.cli import main


def capo_bench(folder: Path, *words: str, expect: int = 0, **environment: str) -> str:
    """Run a command in a folder, with its results folder ``home`` unless another is named; return what it printed.

    Trials run in a process of its own, the other commands in this one, which has imported enough.
    """
    command = [*words, *(() if "--home" in words or words[0] == "validate" else ("--home", str(folder / "home")))]
    if words[0] == "run":
        done = subprocess.run(
            [sys.executable, "-m", "capo_bench", *command],
            cwd=folder, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        code, out = done.returncode, done.stdout + done.stderr
    else:
        with contextlib.chdir(folder):
            result = CliRunner().invoke(main, command, env=environment)
        code, out = result.exit_code, result.stdout if expect == 0 else result.output
    assert code == expect, out
    return out
