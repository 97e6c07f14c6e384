"""At 80 columns, in a real terminal, no command that prints tables breaks a number or a name."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

import capo_bench
from capo_bench.cli import main

ROOT = Path(capo_bench.__file__).parents[1]
sys.path.append(str(ROOT / "tests/capo_bench"))

from fakehome import FakeHome  # noqa: E402

STUDY = """
name: fake
question: Which way of combining several critiques trains the better policy under a longer name than usual?
baseline: grpo_rule
start: cold_start
metrics: [coins_test/accuracy, coins_test/wrong_step_rate]
base: {method: capo, evaluation: {problems: 64, tasks: [coins_test]}}
matrix: {credit.vote: [intersection, majority]}
include:
  - {name: cold_start, set: {method: sft}}
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: a-method-with-a-name-of-forty-two-letters-x, set: {method: outcome_only}}
seeds: [0, 1, 2]
"""


def at_a_terminal(*args: object) -> list[str]:
    """Run a command on a pseudo-terminal of 80 columns, and return the lines that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "capo_bench", *map(str, args)]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=env) as process:
        os.close(theirs)
        data = b""
        with suppress(OSError):  # the terminal is closed with the process
            while chunk := os.read(ours, 65536):
                data += chunk
    os.close(ours)
    assert process.returncode == 0, data.decode()
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", data.decode()).splitlines()


def printed(*args: object, columns: int = 80) -> str:
    done = CliRunner().invoke(main, [str(arg) for arg in args], env={"COLUMNS": str(columns)})
    assert done.exit_code == (args[0] == "verify"), done.output  # made-up results do not verify
    return done.stdout


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeHome:
    truths = FakeHome(Path()).truths
    names = {"vote=intersection": truths["intersection"], "vote=majority": truths["majority"]}
    long = {"a-method-with-a-name-of-forty-two-letters-x": truths["majority"]}
    return FakeHome(tmp_path_factory.mktemp("wide"), STUDY, {**truths, **names, **long}).finish()


@pytest.mark.parametrize(
    "command",
    [
        "ls",
        "plan FILE --full",
        "report FILE",
        "report FILE --full",
        "revote FILE",
        "verify FILE",
        "diff TRIAL OTHER",
        "gc",
        "status voting",
        "critic noisy --data coins --limit 20 -k 4",
    ],
)
def test_no_line_is_wider_and_no_number_or_name_breaks(fake: FakeHome, command: str) -> None:
    trials = [trial.id for trial in fake.plan().trials]
    names = {"FILE": fake.path / "study.yaml", "TRIAL": trials[0], "OTHER": trials[4]}
    args = [names.get(word, word) for word in command.split()]
    args += [] if command == "ls" else ["--home", fake.home.path]
    narrow, wide = printed(*args), printed(*args, columns=2000)
    assert not too_wide(narrow)
    if command.startswith("critic"):  # it is measured anew, in another time
        return
    assert words(narrow) <= words(wide)
    assert words(wide) - words(narrow) <= {"variant", "check"}  # headings of names that have lines of their own


def words(text: str) -> set[str]:
    """The words of what was printed, without the rules below headings."""
    found = re.sub(r"/tmp/tmp\w+", "/tmp", text).split()  # where `verify` makes the report again
    return {word for word in found if not set(word) <= {"─", "·"}}


def too_wide(text: str) -> list[str]:
    """Lines of more than 80 columns, but for paths, which are never broken."""
    return [line for line in text.splitlines() if len(line) > 80 and " " in re.sub(r"^ *(report: )?/\S+$", "", line)]


def test_the_findings_of_doctor_fit(fake: FakeHome) -> None:
    text = printed("doctor", fake.path / "study.yaml", "--home", fake.home.path)
    assert not too_wide(text)


def test_the_first_screen_of_a_report_is_the_answer_and_fits(fake: FakeHome) -> None:
    lines = at_a_terminal("report", fake.path / "study.yaml", "--home", fake.home.path)
    assert len(lines) <= 24
    assert lines[0].startswith("vote=intersection beats grpo_rule on coins_test/accuracy by +")
    assert "--full" in "\n".join(lines)
    assert not too_wide("\n".join(lines))


@pytest.mark.parametrize("command", ["ls", "plan", "report", "revote", "verify", "doctor", "status", "validate", "gc"])
def test_commands_print_json(fake: FakeHome, command: str) -> None:
    fake.plan()
    study = {"ls": [], "gc": [], "status": ["voting"]}.get(command, [fake.path / "study.yaml"])
    home = [] if command in {"ls", "validate"} else ["--home", fake.home.path]
    assert json.loads(printed(command, *study, "--json", *home))
