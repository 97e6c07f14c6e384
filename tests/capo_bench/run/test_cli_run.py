"""The commands run and status, as a user meets them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import standins

from capo_bench.store.ledger import Ledger
from capo_bench.study.load import load_plan

ROOT = Path(__file__).parents[3]
STUDY = """\
name: small
question: Does the critic help?
baseline: grpo_rule
base: {method: capo, benchmark: coins, backbone: tiny}
include:
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: capo, set: {method: capo}}
seeds: [0, 1]
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    return str(path)


def capo_bench(*arguments, code="main(prog_name='capo-bench')"):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CAPO_BENCH", "MLFLOW"))}
    env["COLUMNS"] = "300"
    return subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom capo_bench.cli import main\n{code}", *map(str, arguments)],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture
def finished(study, home):
    """A study whose trials are all done."""
    plan = load_plan(study)
    for trial in plan.trials:
        standins.finish(trial, home, accuracy=0.4 + 0.3 * (trial.variant == "capo"))
    return plan


def test_help_tells_the_exit_codes():
    shown = capo_bench("run", "--help").stdout
    for words in ("0    all trials are done", "1    a trial failed", "2    bad input", "130", "143"):
        assert words in shown


def test_a_results_folder_that_cannot_be_written_is_exit_code_2(study, tmp_path):
    (tmp_path / "file").write_text("no folder")
    run = capo_bench("run", study, "--home", tmp_path / "file" / "runs", "--no-tracking")
    assert run.returncode == 2
    assert "file/runs/studies/small/lock: Not a directory" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_finished_study_prints_its_answer_and_where_to_look(study, home, finished):
    run = capo_bench("run", study, "--home", home.path, "--no-tracking")
    assert run.returncode == 0, run.stderr
    assert "capo" in run.stdout
    assert f"report: {home.study('small').profile('quick').report / 'report.html'}" in run.stdout
    assert "curves:" not in run.stdout  # nothing was tracked
    assert (home.study("small").profile("quick").report / "report.html").exists()
    assert [record["event"] for record in Ledger(home.study("small").ledger).read()] == [
        "study_started",
        "study_finished",
    ]


def test_running_again_writes_nothing_and_prints_the_same_without_the_heavy_packages(study, home, finished):
    first = capo_bench("run", study, "--home", home.path, "--no-tracking")
    files = {path: path.read_bytes() for path in home.study("small").path.rglob("*.*") if path.is_file()}
    look = (
        "try:\n    main(prog_name='capo-bench')\nfinally:\n"
        "    print({'torch', 'transformers', 'trl', 'mlflow'} & set(sys.modules), file=sys.stderr)"
    )
    again = capo_bench("run", study, "--home", home.path, "--no-tracking", code=look)
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert again.stderr.strip() == "set()"
    assert {path: path.read_bytes() for path in files} == files


def test_status_tells_of_a_plan_and_of_all_studies(study, home, finished):
    assert "no study has been run" in capo_bench("status", "--home", home.path).stdout
    home.trial(finished.trials[0].id).metrics.unlink()
    shown = capo_bench("status", study, "--home", home.path).stdout
    assert shown == "small (quick): 3 done, 1 pending; not running\n"

    ledger = Ledger(home.study("small").ledger)
    trial = finished.trials[0]
    ledger.append("study_started", profile="quick", plan=[trial.id for trial in finished.trials])
    ledger.append("trial_failed", trial=trial.id, variant=trial.variant, seed=0, error="ValueError: no", log="a.log")
    first, last, failed = capo_bench("status", "--home", home.path).stdout.splitlines()
    assert first == "small (quick): 3 done, 1 failed; not running"
    why = f"grpo_rule seed 0 ({trial.id}): ValueError: no (log: a.log)"
    assert last.startswith("  last failure, 20")
    assert last.endswith(why)
    assert failed == f"  failed {why}"
