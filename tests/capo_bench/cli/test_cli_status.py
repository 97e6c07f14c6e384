"""``capo-bench status`` as a user meets it, beside a study that is run by another process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from capo_bench.cli import main
from capo_bench.store.home import Home, write_json
from capo_bench.store.ledger import Ledger
from capo_bench.store.lock import hold_lock

ROOT = Path(__file__).parents[3]
LABEL = {"variant": "vote=union", "seed": 3}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "runs")


@pytest.fixture
def ledger(home):
    """A study of four trials: one done, one at work, one that failed, one that is pending."""
    ledger = Ledger(home.study("demo").ledger)
    ledger.append("study_started", profile="quick", plan=["a", "b", "c", "d"])
    write_json(home.trial("a").metrics, {"metrics": {}, "cost": {}})
    ledger.append("trial_started", trial="b", **LABEL, log="b.log")
    ledger.append("trial_retried", trial="b", **LABEL, attempt=1, error="lost", cause="lost", delay=0.0, log="b.log")
    ledger.append("trial_started", trial="b", **LABEL, log="b.log")
    ledger.append("trial_failed", trial="c", **LABEL, error="ValueError: \x1b[2J", log="c.log")
    trial = {**LABEL, "attempt": 2, "stage": "train", "task": "", "step": 12, "of": 40, "outcome": 0.5, "seconds": 30}
    write_json(
        home.study("demo").now,
        {
            "time": datetime.now(UTC).isoformat(), "seconds": 10.0, "seconds_left": 600.0, "policy_tokens": 5000,
            "critic_tokens": 0, "preparing": [], "trials": {"b": trial},
        },
    )  # fmt: skip
    return ledger


def call(home, *arguments):
    return CliRunner().invoke(main, ["status", *arguments, "--home", str(home.path)], env={"COLUMNS": "300"})


def test_a_study_that_runs_is_told_in_a_few_lines_without_controls(home, ledger):
    with hold_lock(home.study("demo").path / "lock"):
        first, pace, holder, last, running, failed = call(home).output.splitlines()
    assert first == "demo (quick): 1 done, 1 running, 1 failed, 1 pending, 1 retried; running now"
    assert pace == "  about 10 min left · 500 policy tokens a second"
    assert holder.startswith(f"  run by process {os.getpid()} on ")
    assert last.startswith("  last failure, 20")
    assert last.endswith(r"vote=union seed 3 (c): ValueError: \x1b[2J (log: c.log)")
    assert running.startswith("  running vote=union seed 3 (b): train, try 2, step 12/40, outcome 0.50, 3")
    assert failed == r"  failed vote=union seed 3 (c): ValueError: \x1b[2J (log: c.log)"


def test_after_a_crash_it_tells_what_was_running(home, ledger):
    lines = call(home, "demo").output.splitlines()
    assert lines[0] == "demo (quick): 1 done, 1 failed, 1 stopped, 1 pending, 1 retried; not running"
    assert "  stopped vote=union seed 3 (b) at train, try 2, step 12/40, outcome 0.50" in lines
    assert not any("left" in line or "run by" in line for line in lines)


def test_the_keys_of_the_json_stay_and_controls_are_escaped_in_it(home, ledger):
    with hold_lock(home.study("demo").path / "lock"):
        shown = call(home, "--json").output
    assert "\x1b" not in shown
    told = json.loads(shown)
    assert told.keys() == {"version", "studies"}
    (study,) = told["studies"]
    assert study.keys() == {
        "study", "profile", "running", "counts", "retries", "holder", "seconds_left", "trials_an_hour",
        "tokens_a_second", "preparing", "last_failure", "trials",
    }  # fmt: skip
    assert study["counts"] == {"done": 1, "running": 1, "failed": 1, "stopped": 0, "pending": 1}
    assert study["holder"].keys() == {"pid", "host", "since", "checked"}
    assert study["last_failure"]["error"] == "ValueError: \x1b[2J"
    assert [trial["trial"] for trial in study["trials"]] == ["b", "c"]
    keys = {"trial", "variant", "seed", "state", "attempt", "error", "log"}
    assert study["trials"][0].keys() == keys | {"stage", "task", "step", "of", "outcome", "seconds"}
    assert (study["trials"][0]["attempt"], study["trials"][0]["step"]) == (2, 12)
    assert study["trials"][1]["stage"] is None


def test_the_json_of_a_folder_without_studies_is_empty(home):
    assert json.loads(call(home, "--json").output) == {"version": 1, "studies": []}
    assert not home.path.exists()


def test_what_is_made_for_all_trials_has_its_own_estimate(home, ledger):
    making = [{"model": "embedded critic", "step": 10, "of": 100, "seconds_left": 240.0}]
    said = {"time": datetime.now(UTC).isoformat(), "seconds_left": 240.0, "preparing": making, "trials": {}}
    write_json(home.study("demo").now, said)
    with hold_lock(home.study("demo").path / "lock"):
        assert "  embedded critic, step 10/100 · about 4 min left" in call(home).output.splitlines()


def test_a_name_in_the_folder_is_told_as_it_was_last_run_and_others_are_looked_up(home, ledger):
    assert call(home, "demo").output.startswith("demo (quick): 1 done")
    assert call(home, "voting").output.startswith("voting (quick): ")
    assert call(home, "demos").exit_code == 2


def test_watching_ends_with_the_study_and_prints_only_what_changed(home, ledger):
    def finish():
        time.sleep(0.3)
        write_json(home.trial("d").metrics, {"metrics": {}, "cost": {}})
        time.sleep(0.3)
        release.set()

    release = threading.Event()
    shown = {}
    watcher = threading.Thread(target=lambda: shown.update(result=call(home, "demo", "--watch=0.05")))
    with hold_lock(home.study("demo").path / "lock"):
        watcher.start()
        finish()
    watcher.join(timeout=20)
    result = shown["result"]
    assert result.exit_code == 0
    heads = [line for line in result.output.splitlines() if line.startswith("demo")]
    assert [head.partition(";")[2] for head in heads[-2:]] == [" running now", " not running"]
    assert any(head.startswith("demo (quick): 2 done, 1 running") for head in heads)


def test_ctrl_c_ends_watching_without_an_error(home, ledger):
    with hold_lock(home.study("demo").path / "lock"):
        process = subprocess.Popen(
            [sys.executable, "-m", "capo_bench", "status", "--watch", "--home", str(home.path)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline().startswith("demo (quick): 1 done")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--watch", "demo"), "'demo' is no number of seconds; write STUDY before --watch"), (("--watch=0",), "above 0")],
)
def test_a_wait_that_is_none_is_refused(home, arguments, told):
    result = call(home, *arguments)
    assert result.exit_code == 2
    assert told in result.output


def test_status_imports_nothing_heavy(home, ledger):
    code = "import sys\nfrom capo_bench.cli import main\ntry:\n    main(['status', '--home', sys.argv[1]])\nfinally:\n"
    code += "    print({'torch', 'numpy', 'rich', 'transformers', 'mlflow'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code, str(home.path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "set()"
