"""What a run leaves in a real store, read back through MLflow's own client."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from capo_bench.track.store import Store, build_quiet_environment


def run_trials(desk, plan, trials, finished=True):
    """Track these trials from start to end."""
    tracker = desk.tracker(plan)
    for trial in trials:
        desk.happen("trial_started", trial)
        desk.write_steps(trial, 1, 3)
        desk.finish(trial)
        desk.happen("trial_done", trial)
    assert tracker.close(finished)


def test_a_study_is_a_parent_run_and_its_trials_are_child_runs(desk):
    plan = desk.plan("vote=union", "exact")
    run_trials(desk, plan, plan.trials)

    (parent,) = desk.runs("study")
    exact, union = desk.runs()
    assert parent.info.run_name == f"{desk.study} (quick)"
    assert parent.info.status == "FINISHED"
    assert (exact.info.run_name, union.info.run_name) == ("exact, seed 0", "vote=union, seed 0")
    assert {run.data.tags["mlflow.parentRunId"] for run in (exact, union)} == {parent.info.run_id}
    assert {run.info.status for run in (exact, union)} == {"FINISHED"}
    assert union.data.tags["capo.trial"] == "vote=union-0"
    assert (union.data.tags["capo.commit"], union.data.tags["capo.torch"]) == ("abc", "2.13.0")


def test_only_what_the_study_varies_is_a_parameter_and_the_whole_config_is_a_file(desk):
    plan = desk.plan("a", "b")
    run_trials(desk, plan, plan.trials)
    runs = desk.runs()
    assert [run.data.params for run in runs] == [
        {"variant": "a", "seed": "0", "method": "capo", "train.steps": "10"},
        {"variant": "b", "seed": "0", "method": "capo", "train.steps": "11"},
    ]
    assert json.loads(desk.text(runs[1], "config.json")) == plan.trials[1].config.model_dump(mode="json")


def test_curves_final_metrics_costs_and_files_are_there(desk):
    plan = desk.plan("a")
    run_trials(desk, plan, plan.trials)
    (run,) = desk.runs()
    assert desk.curve(run, "curves/outcome") == [(1, 0.01), (2, 0.02), (3, 0.03)]
    assert run.data.metrics["final/coins_test/accuracy"] == 0.5
    assert run.data.metrics["final/cost/wall_seconds"] == 1.0
    assert desk.files(run) == [
        "config.json",
        "metrics.json",
        "provenance.json",
        "samples",
        "steps.jsonl",
        "trial.log",
    ]


def test_a_curve_of_many_values_is_written_whole_in_few_calls(desk):
    """30 steps of 41 values: more than MLflow takes in one call."""
    plan = desk.plan("a")
    (trial,) = plan.trials
    tracker = desk.tracker(plan)
    desk.write_steps(trial, 1, 30, **{f"value_{index}": index for index in range(40)})
    desk.write_steps(trial, 31, 31, **{f"value_{index}": -1 for index in range(40)})
    desk.finish(trial)
    desk.happen("trial_done", trial)
    assert tracker.close(finished=True)
    (run,) = desk.runs()
    for name in ("curves/outcome", "curves/value_0", "curves/value_39"):
        assert [step for step, _ in desk.curve(run, name)] == list(range(1, 32))


def test_values_that_cannot_be_drawn_are_left_out(desk):
    plan = desk.plan("a")
    for step, value in ((1, 0.5), (2, 0.6)):
        desk.write_steps(plan.trials[0], step, step, loss=float("nan"), text="x", **{"avg@8": value})
    desk.finish(plan.trials[0])
    assert desk.tracker(plan).close(finished=True)
    (run,) = desk.runs()
    assert {name for name in run.data.metrics if name.startswith("curves/")} == {"curves/outcome", "curves/avg_at_8"}


def test_curves_of_a_running_trial_are_live(desk, until):
    plan = desk.plan("a")
    tracker = desk.tracker(plan, flush_seconds=0.05)
    desk.happen("trial_started", plan.trials[0])
    desk.write_steps(plan.trials[0], 1, 2)
    until(lambda: desk.client.get_experiment_by_name(desk.study) and desk.runs())
    until(lambda: len(desk.curve(desk.runs()[0], "curves/outcome")) == 2)
    assert desk.runs()[0].info.status == "RUNNING"
    desk.write_steps(plan.trials[0], 3, 3)
    until(lambda: len(desk.curve(desk.runs()[0], "curves/outcome")) == 3)
    assert tracker.close(finished=False)
    assert desk.runs("study")[0].info.status == "KILLED"


def test_a_stopped_trial_goes_on_in_the_same_run_and_no_step_is_written_twice(desk):
    plan = desk.plan("a")
    (trial,) = plan.trials
    tracker = desk.tracker(plan)
    desk.happen("trial_started", trial)
    desk.write_steps(trial, 1, 3)
    desk.happen("trial_stopped", trial)
    assert tracker.close(finished=False)
    assert desk.runs()[0].info.status == "KILLED"

    tracker = desk.tracker(plan)
    desk.happen("trial_started", trial)
    desk.write_steps(trial, 3, 5)  # from the checkpoint after step 2
    desk.finish(trial)
    desk.happen("trial_done", trial)
    assert tracker.close(finished=True)
    (run,) = desk.runs()
    assert run.info.status == "FINISHED"
    assert [step for step, _ in desk.curve(run, "curves/outcome")] == [1, 2, 3, 4, 5]


def test_a_run_that_has_nothing_to_do_adds_nothing(desk, store):
    plan = desk.plan("a", "b")
    run_trials(desk, plan, plan.trials)

    def rows():
        with sqlite3.connect(store.uri.removeprefix("sqlite:///")) as database:
            counts = [f"(select count(*) from {table})" for table in ("runs", "metrics", "params", "tags")]
            return database.execute(f"select {', '.join(counts)}").fetchone()

    before = rows()
    assert desk.tracker(plan).close(finished=True)
    assert rows() == before


def test_what_one_run_missed_the_next_one_makes_up_for(desk):
    """Trials that were run without tracking, by another study, or just before a crash."""
    plan = desk.plan("a", "b")
    desk.write_steps(plan.trials[0], 1, 2)
    desk.finish(plan.trials[0])
    assert desk.tracker(plan).close(finished=False)
    (run,) = desk.runs()
    assert (run.info.run_name, run.info.status) == ("a, seed 0", "FINISHED")
    assert len(desk.curve(run, "curves/outcome")) == 2


def test_a_failed_trial_has_its_log_without_secrets(desk, monkeypatch):
    monkeypatch.setenv("CRITIC_API_KEY", "sk-123456")
    plan = desk.plan("a")
    (trial,) = plan.trials
    tracker = desk.tracker(plan)
    desk.happen("trial_started", trial)
    folder = desk.home.trial(trial.id)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.log.write_text("401 for sk-123456\n")
    desk.happen("trial_failed", trial)
    assert tracker.close(finished=False)
    (run,) = desk.runs()
    assert run.info.status == "FAILED"
    assert desk.text(run, "trial.log") == "401 for ***CRITIC_API_KEY***\n"


def test_the_report_is_attached_to_the_study(desk, tmp_path):
    report = tmp_path / "report"
    (report / "figures").mkdir(parents=True)
    (report / "report.html").write_text("<p>")
    (report / "figures" / "a.png").write_bytes(b"\x89PNG\xff\x00")
    tracker = desk.tracker(desk.plan("a"))
    assert tracker.close(finished=True, report=report)
    (parent,) = desk.runs("study")
    assert desk.files(parent, "report") == ["report/figures", "report/report.html"]
    path = desk.client.download_artifacts(parent.info.run_id, "report/figures/a.png")
    assert Path(path).read_bytes() == b"\x89PNG\xff\x00"


def test_a_line_that_is_still_being_written_waits_and_a_torn_one_is_skipped(desk):
    plan = desk.plan("a")
    (trial,) = plan.trials
    desk.write_steps(trial, 1, 1)
    with desk.home.trial(trial.id).steps.open("a") as file:
        file.write('{"step": 2, "outc\n{"step": 3, "outcome": 0.5}\n{"step": 4, "outcome": 0.')
    desk.finish(trial)
    assert desk.tracker(plan).close(finished=True)
    assert desk.curve(desk.runs()[0], "curves/outcome") == [(1, 0.01), (3, 0.5)]


def test_a_store_that_cannot_be_written_is_told_once_and_the_run_goes_on(desk, broken_store):
    plan = desk.plan("a", "b")
    tracker = desk.tracker(plan, store=broken_store)
    for trial in plan.trials:
        desk.happen("trial_started", trial)
        desk.happen("trial_done", trial)
    assert not tracker.close(finished=True)
    assert len(desk.warnings) == 1
    assert desk.warnings[0].startswith("tracking failed, the run goes on and what is missing is written later")
    assert f"capo-bench sync ({broken_store.uri}: " in desk.warnings[0]


def test_failures_are_counted_and_later_writes_still_tried(desk):
    plan = desk.plan("a", "b")
    tracker = desk.tracker(plan)
    desk.happen("trial_done", plan.trials[0])  # it left no metrics
    desk.finish(plan.trials[1])
    desk.happen("trial_done", plan.trials[1])
    assert not tracker.close(finished=True)
    assert tracker.failures
    assert len(desk.warnings) == 1
    assert [run.info.status for run in desk.runs()] == ["RUNNING", "FINISHED"]


def test_a_store_that_does_not_answer_is_not_waited_for_long(desk):
    plan = desk.plan("a")
    began = time.monotonic()
    tracker = desk.tracker(plan, store=Store("http://10.255.255.1:9"))
    desk.happen("trial_done", plan.trials[0])
    assert not tracker.close(finished=True, timeout=0.2)
    assert time.monotonic() - began < 10
    assert desk.warnings


MAKE = """
import sys
from pathlib import Path
from capo_bench.store.home import Home
from capo_bench.track.store import open_client, store_of
open_client(store_of(Home(Path(sys.argv[1])))).search_experiments()
"""


def test_two_studies_that_start_at_once_on_a_new_store_leave_a_sound_one(tmp_path):
    root = Path(__file__).parents[3]
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    made = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path)], cwd=root, env=env, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in made:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, b"")


def test_tracking_through_a_whole_run_of_the_runner(desk):
    plan = desk.plan("ok", "fail", seeds=(0, 1))
    result = desk.session().run(plan, track=True)
    assert (result.done, result.failed) == (2, 2)
    assert [run.info.status for run in desk.runs()] == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    assert "reward is not a number" in desk.text(desk.runs()[0], "trial.log")


def test_a_finished_study_is_run_again_to_track_what_was_not_tracked(desk):
    session, plan = desk.session(), desk.plan("ok")
    session.run(plan, track=False)
    assert not session.run(plan, track=True).idle
    assert len(desk.runs()) == 1
    assert session.run(plan, track=True).idle
    assert session.run(plan, track=False).idle


def test_a_run_with_a_broken_store_ends_well(desk, broken_store, monkeypatch):
    session = desk.session()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", broken_store.uri)
    assert session.run(desk.plan("ok"), track=True).exit_code == 0
    assert session.shown.getvalue().count("tracking failed") == 1


def test_the_question_stands_beside_the_study(desk):
    assert desk.tracker(desk.plan("a")).close(finished=False)
    (parent,) = desk.runs("study")
    assert parent.data.tags["mlflow.note.content"] == "**Question:** Does it run?"
    assert (parent.data.tags["capo.study"], parent.data.tags["capo.profile"]) == (desk.study, "quick")


def test_each_profile_is_a_parent_run_with_its_own_trials(desk):
    plan = desk.plan("a")
    full = replace(plan, profile="full")
    desk.finish(plan.trials[0])
    for each in (plan, full, plan):
        assert desk.tracker(each).close(finished=True)
    parents = desk.runs("study")
    assert [run.info.run_name for run in parents] == [f"{desk.study} (full)", f"{desk.study} (quick)"]
    assert sorted(run.data.tags["mlflow.parentRunId"] for run in desk.runs()) == sorted(
        run.info.run_id for run in parents
    )


def test_an_experiment_that_was_deleted_by_hand_is_brought_back(desk):
    assert desk.tracker(desk.plan("a")).close(finished=False)
    desk.client.delete_experiment(desk.client.get_experiment_by_name(desk.study).experiment_id)
    assert desk.tracker(desk.plan("a")).close(finished=False)
    assert desk.client.get_experiment_by_name(desk.study).lifecycle_stage == "active"


def test_a_secret_in_a_file_that_a_trial_left_does_not_reach_the_store(desk, monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", "hf_abcdefgh")
    plan = desk.plan("a")
    folder = desk.home.trial(plan.trials[0].id)
    desk.finish(plan.trials[0])
    folder.samples("coins_test").write_text('{"completion": "hf_abcdefgh"}\n')
    folder.provenance.write_text('{"python": "hf_abcdefgh"}')
    assert desk.tracker(plan).close(finished=True)
    (run,) = desk.runs()
    assert "***HUB_TOKEN***" in desk.text(run, "samples/coins_test.json")
    assert run.data.tags["capo.python"] == "***HUB_TOKEN***"
    with sqlite3.connect(desk.store.uri.removeprefix("sqlite:///")) as database:
        assert "hf_abcdefgh" not in "\n".join(database.iterdump())


QUIET = """
import sys
from pathlib import Path
from capo_bench.store.home import Home
from capo_bench.track.store import open_client, store_of

open_client(store_of(Home(Path(sys.argv[1]))))
from mlflow.telemetry.client import get_telemetry_client
from mlflow.telemetry.utils import is_telemetry_disabled

print(is_telemetry_disabled(), get_telemetry_client())
"""


def test_mlflow_is_kept_from_telling_anybody_of_its_use(tmp_path, monkeypatch):
    """In a process of its own: MLflow decides when it is first imported, and another test may have done that."""
    for name in build_quiet_environment():
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run([sys.executable, "-c", QUIET, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "None"]


def test_the_trainers_of_others_do_not_import_mlflow_where_trials_are_trained(monkeypatch):
    from transformers.integrations import is_mlflow_available

    for name in build_quiet_environment():
        monkeypatch.delenv(name, raising=False)
    assert is_mlflow_available()
    for name, value in build_quiet_environment().items():
        monkeypatch.setenv(name, value)
    assert not is_mlflow_available()


def test_what_a_method_does_not_use_is_no_parameter_of_its_trial(desk):
    plan = desk.plan("a", "b")
    config = plan.trials[1].config.model_copy(update={"method": "sft"})
    untrained = replace(plan.trials[1], config=config)
    plan = replace(plan, trials=(plan.trials[0], untrained))
    run_trials(desk, plan, plan.trials)
    assert [run.data.params for run in desk.runs()] == [
        {"variant": "a", "seed": "0", "method": "capo", "train.steps": "10"},
        {"variant": "b", "seed": "0", "method": "sft"},
    ]
