"""Commands that read results know a study by its name, and its plan as it was last run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from capo_bench.cli import main
from capo_bench.study.load import load_plan

sys.path.append(str(Path(__file__).parents[1]))

from fakehome import STUDY, FakeHome

SETS = ("--set", "train.steps=50", "--set", "train.prompts_per_step=2")
PROFILES = "profiles: {small: {seeds: [0, 1]}}\n"


def call(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> FakeHome:
    """A study that was run with ``--set`` under two profiles, and whose file is gone."""
    fake = FakeHome(tmp_path_factory.mktemp("ran"), STUDY + PROFILES)
    fake.plan()
    file = fake.path / "study.yaml"
    for trial in load_plan(file, sets=SETS[1::2]).trials:
        fake.write(trial)
    for profile in ("quick", "small"):
        done = call("run", file, *SETS, "--profile", profile, "--home", fake.home.path, "--no-tracking")
        assert done.exit_code == 0, done.output
    file.unlink()
    return fake


@pytest.mark.parametrize("command", ["report", "revote", "view", "bundle --out OUT", "status", "plan", "doctor"])
def test_a_study_of_the_results_folder_is_known_by_its_name(ran: FakeHome, tmp_path: Path, command: str) -> None:
    name, *options = command.replace("OUT", str(tmp_path / "out.tar.gz")).split()
    done = call(name, "fake", *options, "--json", "--home", ran.home.path)
    assert done.exit_code in {0, 1} if name == "doctor" else done.exit_code == 0, done.output
    assert isinstance(json.loads(done.stdout), dict)


def test_the_plan_that_was_last_run_is_read_with_its_sets_and_profile(ran: FakeHome) -> None:
    last = json.loads(call("report", "fake", "--json", "--home", ran.home.path).stdout)
    assert last["profile"] == "small"
    assert "beats grpo_rule" in last["answer"]
    quick = json.loads(call("report", "fake", "--profile", "quick", "--json", "--home", ran.home.path).stdout)
    assert quick["profile"] == "quick"
    assert {Path(one["files"][0]).is_file() for one in (last, quick)} == {True}
    assert last["files"][0] != quick["files"][0]


def test_a_profile_leaves_anothers_report_alone(ran: FakeHome) -> None:
    page = ran.home.study("fake").profile("quick").report / "report.html"
    before = page.read_bytes()
    assert call("report", "fake", "--profile", "small", "--home", ran.home.path).exit_code == 0
    assert page.read_bytes() == before


def test_a_file_that_has_changed_since_and_sets_make_the_plan_anew(ran: FakeHome, tmp_path: Path) -> None:
    file = tmp_path / "fake.yaml"
    file.write_text(STUDY + PROFILES, encoding="utf-8")
    same = call("report", file, "--home", ran.home.path)
    assert same.exit_code == 0, same.output
    for arguments in ([file, "--set", "cold_start.steps=7"], ["fake", "--set", "cold_start.steps=7"]):
        done = call("report", *arguments, "--home", ran.home.path)
        assert (done.exit_code, "nothing to report" in done.output) == (2, True)
    file.write_text(STUDY + PROFILES + "# another\n", encoding="utf-8")
    assert "the baseline grpo_rule has no finished trial" in call("report", file, "--home", ran.home.path).output


def test_only_picks_from_the_plan_that_was_run(ran: FakeHome) -> None:
    done = call("report", "fake", "--only", "grpo_rule", "--only", "intersection", "--home", ran.home.path)
    assert done.exit_code == 0, done.output
    assert "majority" not in done.output.splitlines()[0]
    wrong = call("report", "fake", "--only", "nobody", "--home", ran.home.path)
    assert (wrong.exit_code, "'nobody' matches no variant" in wrong.output) == (2, True)


def test_an_unknown_study_is_told_the_nearest_of_the_folder_and_the_shipped_ones(ran: FakeHome) -> None:
    for command in ("report", "run", "plan"):
        done = call(command, "faek", "--home", ran.home.path)
        assert done.exit_code == 2
        assert "faek: no such file, and no study of that name (did you mean 'fake'?)" in done.output
        assert "voting" in done.output


def test_a_damaged_plan_is_named(ran: FakeHome, tmp_path: Path) -> None:
    plan = ran.home.study("fake").profile("small").plan
    text = plan.read_text(encoding="utf-8")
    try:
        plan.write_text(text[: len(text) // 2], encoding="utf-8")
        done = call("report", "fake", "--home", ran.home.path)
    finally:
        plan.write_text(text, encoding="utf-8")
    assert done.exit_code == 2
    assert f"{plan}: no plan that this capo-bench can read" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("report fa", "fake"),
        ("report vot", "voting"),
        ("report fake --profile sm", "small"),
    ],
)
def test_a_shell_completes_studies_and_profiles(ran: FakeHome, words: str, offered: str) -> None:
    assert f"plain,{offered}" in completed(words, ran).splitlines()


def test_a_shell_completes_trials(ran: FakeHome) -> None:
    trial = next((ran.home.path / "trials").iterdir()).name
    assert completed(f"diff {trial[:6]}", ran).strip() == f"plain,{trial}"


def completed(words: str, fake: FakeHome) -> str:
    """What bash is offered for the last word."""
    asked = {"COMP_WORDS": f"capo-bench {words}", "COMP_CWORD": str(len(words.split()))}
    env = {**asked, "CAPO_BENCH_HOME": str(fake.home.path), "_CAPO_BENCH_COMPLETE": "bash_complete"}
    return CliRunner().invoke(main, [], env=env, prog_name="capo-bench").output
