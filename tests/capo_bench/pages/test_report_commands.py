"""The commands report and diff, from the command line."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result
from fakehome import FakeHome

from capo_bench.cli import main
from capo_bench.store.home import write_json


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_report_prints_tables_answer_and_paths(full: FakeHome):
    full.plan()
    result = call("report", full.path / "study.yaml", "--home", full.home.path)
    assert result.exit_code == 0, result.output
    assert "difference [95 %]" in result.output
    assert "Its cost: " in result.output, "no gain is told without its cost"
    assert re.search(r"^intersection .* [+]23\.4 \[[+]8\.5, [+]38\.3\] .*×$", result.output, re.MULTILINE)
    assert "intersection beats grpo_rule on coins_test/accuracy by +" in result.output
    assert str(full.home.study("fake").profile("quick").report / "report.html") in result.output


def test_report_of_nothing_says_what_to_do(fake: FakeHome):
    fake.plan()
    result = call("report", fake.path / "study.yaml", "--home", fake.home.path)
    assert result.exit_code == 2
    assert "none of the 12 trials" in result.output
    assert "capo-bench run" in result.output
    assert "Traceback" not in result.output


def test_report_names_a_damaged_file(fake: FakeHome):
    fake.finish("grpo_rule", seeds=(0,))
    trial = next(t for t in fake.plan().trials if (t.variant, t.seed) == ("grpo_rule", 0))
    fake.home.trial(trial.id).metrics.write_text("{", encoding="utf-8")
    result = call("report", fake.path / "study.yaml", "--home", fake.home.path)
    assert result.exit_code == 2
    assert "metrics.json:1: not JSON" in result.output


def test_report_of_an_unknown_study_ends_with_2(tmp_path):
    result = call("report", "votng", "--home", tmp_path)
    assert result.exit_code == 2
    assert "did you mean 'voting'?" in result.output


def test_report_of_some_variants(full: FakeHome):
    full.plan()
    result = call("report", full.path / "study.yaml", "--home", full.home.path, "--only", "grpo_rule")
    assert result.exit_code == 0, result.output
    assert "left out: cold_start, intersection, majority." in result.output
    assert "No comparison yet" in result.output


def test_diff_says_why(full: FakeHome):
    ids = {(t.variant, t.seed): t.id for t in full.plan().trials}
    result = call("diff", ids["majority", 0], ids["intersection", 0][:8], "--home", full.home.path)
    assert result.exit_code == 0, result.output
    assert "different identity (training), different results" in result.output
    assert "credit.vote\n    A: 'majority'\n    B: 'intersection'" in result.output


def test_diff_of_a_trial_with_itself(full: FakeHome):
    trial = full.plan().trials[0]
    folder = full.home.trial(trial.id).path
    assert "same identity, same metrics, bit for bit" in call("diff", folder, folder).output


@pytest.mark.parametrize(("a", "told"), [("aa", "is the beginning of 2 trials"), ("ab1", "did you mean aa1")])
def test_diff_of_an_unknown_trial_ends_with_2(fake: FakeHome, a: str, told: str):
    for name in ("aa1", "aa2"):
        write_json(fake.home.trial(name).config, {"id": name, "variant": "v", "seed": 0})
    result = call("diff", a, "aa1", "--home", fake.home.path)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("command", ["report", "diff"])
def test_help_has_examples(command: str):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"  capo-bench {command} " in result.output


def test_help_imports_nothing_heavy():
    heavy = ("matplotlib", "scipy", "numpy", "torch", "jinja2", "rich")
    code = (
        "import sys, capo_bench.cli.report, capo_bench.cli.diff\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
