"""The commands of docs/evaluating.md: all are understood, and those that need no network are run."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from evaluating import folder_of

from capo_bench.cli import main
from capo_bench.cli.compare import compare
from capo_bench.cli.evaluate import evaluate
from evals.tasks import SUITES

DOCUMENT = Path(__file__).parents[3] / "docs" / "evaluating.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```console\n(.*?)^```$", TEXT, re.M | re.S)
    for line in block.splitlines()
]
OFFLINE = [words for words in COMMANDS if "coins" in " ".join(words) or "EVALUATION" in words]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_understood(words):
    command: click.Command = {"eval": evaluate, "compare": compare}[words[0]]
    command.make_context(words[0], list(words[1:]))


def test_the_commands_do_what_they_are_shown_to_do(policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def run(words):
        named = {"outputs/my-model": policy, "EVALUATION": made[0] if made else "", "OTHER": made[-1] if made else ""}
        tail = ["--no-tracking"] if words[0] == "eval" else []
        return CliRunner().invoke(main, [named.get(word, word) for word in words] + tail, catch_exceptions=False)

    codes = []
    for words in OFFLINE:
        # The first that is scored again is of coins; the two made first are compared.
        done = run(words)
        codes.append((words[0], done.exit_code))
        if words[0] == "eval" and "--rescore" not in words:
            made.append(folder_of(done).name)
    assert codes == [*[("eval", 0)] * 5, ("compare", 2), ("compare", 2)]
    assert [path.name for path in (tmp_path / "exported").iterdir()]


def test_every_suite_and_option_of_the_command_that_is_named_is_there():
    options = {
        name
        for command in (evaluate, compare)
        for option in command.params
        for name in (*option.opts, *option.secondary_opts)
    }
    named = set(re.findall(r"(--[a-z][\w-]+)", TEXT))
    assert named <= options
    assert all(f"`{suite}`" in TEXT for suite in SUITES)
