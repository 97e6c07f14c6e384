"""What MLflow's users meet of a study: runs, the answer, traces, prompts, data sets, tables; in its own pages too."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import capo_bench

ROOT = Path(capo_bench.__file__).parents[1]
sys.path.append(str(Path(__file__).parents[1]))

from fakehome import FakeHome  # noqa: E402

from capo_bench.analysis.answer import build_tracked_answer  # noqa: E402
from capo_bench.pages.report import build_report, write_report  # noqa: E402
from capo_bench.store.home import Home  # noqa: E402
from capo_bench.store.ledger import Ledger  # noqa: E402
from capo_bench.study.last_plan import RunRequest, keep_plan  # noqa: E402
from capo_bench.track.store import open_client, store_of  # noqa: E402
from capo_bench.track.sync import sync  # noqa: E402
from capo_bench.track.traces import SAMPLE  # noqa: E402
from capo_bench.verify.checks import Check  # noqa: E402
from capo_bench.verify.study import check_tracked  # noqa: E402
from trainers.config import TrialConfig  # noqa: E402


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> FakeHome:
    """A study with one seed of each variant, its report made, all of it in the store of its folder."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    fake = FakeHome(tmp_path_factory.mktemp("tracked")).finish(seeds=(0, 1))
    plan = fake.plan()
    model = fake.home.trial(plan.trials[-2].id).model
    model.mkdir()
    (model / "config.json").write_text("{}")
    keep_plan(plan, fake.home, RunRequest("name: fake"))
    Ledger(fake.home.study("fake").ledger).append("study_started", profile="quick", plan=[t.id for t in plan.trials])
    write_report(build_report(plan, fake.home), fake.home.study("fake").profile("quick").report)
    found = sync(fake.home, "fake", store_of(fake.home), answered=build_tracked_answer)
    assert (found.delivered, found.lost) == (8, [])
    return fake


@pytest.fixture(scope="module")
def client(tracked: FakeHome):
    return open_client(store_of(tracked.home))


def runs(client, kind: str):
    experiment = client.get_experiment_by_name("fake")
    return client.search_runs([experiment.experiment_id], f"tags.`capo.kind` = '{kind}'")


def test_the_parent_run_holds_question_answer_means_and_differences(client):
    (parent,) = runs(client, "study")
    question, answer = parent.data.tags["mlflow.note.content"].split("\n\n")
    assert question == "**Question:** Which vote trains the better policy?"
    assert answer == f"**Answer:** {parent.data.tags['capo.answer']}"
    metrics = parent.data.metrics
    at = "coins_test/accuracy/intersection"
    difference = metrics[f"means/{at}"] - metrics["means/coins_test/accuracy/grpo_rule"]
    assert metrics[f"differences/{at}"] == pytest.approx(difference)
    assert metrics[f"differences/{at} low"] < difference < metrics[f"differences/{at} high"]
    assert client.list_artifacts(parent.info.run_id, "report")


def test_curves_come_first_and_what_never_changes_is_not_logged(client):
    (run,) = [run for run in runs(client, "trial") if run.info.run_name == "grpo_rule, seed 0"]
    names = sorted(run.data.metrics)
    assert names[0] == "curves/outcome"
    assert "curves/policy_tokens" not in names  # the same in all 50 steps
    assert {name.split("/")[0] for name in names[1:]} <= {"curves", "final"}
    assert len(client.get_metric_history(run.info.run_id, "curves/outcome")) == 50


def test_provenance_is_five_tags_and_a_file(client):
    run = runs(client, "trial")[0]
    own = {"capo.kind", "capo.trial", "capo.variant", "capo.study", "capo.profile", "capo.state"}
    tags = {name for name in run.data.tags if name.startswith("capo.")} - own
    assert tags == {"capo.commit", "capo.python", "capo.torch", "capo.trl", "capo.hardware"}
    assert "provenance.json" in {item.path for item in client.list_artifacts(run.info.run_id)}


def test_a_stated_sample_of_critic_calls_are_traces_with_what_was_right(client):
    (run,) = [run for run in runs(client, "trial") if run.info.run_name == "majority, seed 1"]
    experiment = client.get_experiment_by_name("fake").experiment_id
    traces = client.search_traces(locations=[experiment], run_id=run.info.run_id)
    assert len(traces) == 8  # two critiques of two rollouts of two steps
    for trace in traces:
        assert trace.info.tags["capo.sample"] == SAMPLE
        span = trace.data.spans[0]
        assert set(span.inputs) == {"problem", "steps", "aim"}
        assert set(span.outputs) == {"text", "wrong_steps", "abstained"}
        assert span.attributes["output_tokens"] in {0, 30, 60}
        (truth,) = trace.info.assessments
        assert (truth.name, max(truth.value, default=0) <= len(span.inputs["steps"])) == ("wrong_steps", True)
    sync_again = sync(Home(Path(store_uri(client)).parent), "fake", store_of(Home(Path(store_uri(client)).parent)))
    assert (sync_again.delivered, sync_again.there) == (0, 8)


def store_uri(client) -> str:
    return client.tracking_uri.removeprefix("sqlite:///")


def test_policies_are_logged_models_tasks_data_sets_and_samples_tables(client, tracked):
    experiment = client.get_experiment_by_name("fake").experiment_id
    (model,) = client.search_logged_models([experiment])
    trial = tracked.plan().trials[-2]
    assert (model.name, model.tags["capo.trial"]) == (f"{trial.variant}-seed-{trial.seed}", trial.id)
    assert any(metric.key == "final/coins_test/accuracy" for metric in model.metrics)
    run = client.get_run(model.source_run_id)
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, json.loads(data.dataset.profile)) == ("coins_test", {"problems": 64})
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "samples/coins_test.json", "type": "table"}]
    path = client.download_artifacts(run.info.run_id, "samples/coins_test.json")
    table = json.loads(Path(path).read_text())
    assert (len(table["data"]), "correct" in table["columns"]) == (200, True)


def test_the_saved_view_is_deflated_json(client):
    text = client.get_experiment_by_name("fake").tags["mlflow.sharedViewState.capo-curves"]
    state = json.loads(zlib.decompress(base64.b64decode(text.removeprefix("deflate;"))))
    assert state["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "variant"}]


def test_a_prompt_of_a_language_model_has_a_version_for_each_text(client, tracked, monkeypatch):
    from capo_bench.track import traces

    judged = {"critic": {"name": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}}
    trial = replace(tracked.plan().trials[-2], config=TrialConfig.model_validate(judged))
    for _ in range(2):
        traces._write_prompt(client, trial, "steps")
        assert client.get_prompt_version_by_alias("critic-steps", "latest").version == 1
    monkeypatch.setattr("trainers.credit.prompt.write_instructions", lambda aim, reference, reply: "Judge otherwise.")
    traces._write_prompt(client, trial, "steps")
    assert client.get_prompt_version_by_alias("critic-steps", "latest").version == 2
    traces._write_prompt(client, tracked.plan().trials[-2], "answer")  # a critic that is no language model has none
    assert client.get_prompt("critic-answer") is None


def test_tracing_leaves_the_environment_alone(tracked):
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_results_folder_that_moves_keeps_its_artefacts(tracked, tmp_path):
    moved = Home(tmp_path / "else where")
    shutil.copytree(tracked.home.path, moved.path)
    store = store_of(moved)
    client = open_client(store)
    for run in [*runs(client, "trial"), *runs(client, "study")]:
        assert run.info.artifact_uri.startswith(moved.artifacts.as_uri())
        assert client.list_artifacts(run.info.run_id)


def test_final_numbers_that_were_changed_in_the_store_are_found(tracked, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(tracked.home.path, home.path)
    trials, check = {trial.id for trial in tracked.plan().trials}, Check()
    check_tracked(check, home, trials)
    assert check.compared >= 8
    assert check.mismatches == []
    with closing(sqlite3.connect(home.tracking)) as connection:
        connection.execute("UPDATE latest_metrics SET value = 7 WHERE key = 'final/coins_test/accuracy'")
        connection.commit()
    check_tracked(check, home, trials)
    assert len(check.mismatches) == 8
    assert {mismatch.where.rpartition(" ")[2] for mismatch in check.mismatches} == {"final/coins_test/accuracy"}
    home.tracking.write_text("no database")
    check_tracked(check, home, trials)
    assert ["file is not a database" in reason for reason in check.unchecked] == [True]


def test_the_link_opens_the_curves_grouped_by_variant_in_a_real_browser(tracked):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "capo_bench", "ui", "fake", "--home", str(tracked.home.path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as server:
        try:
            lines = iter(server.stdout.readline, "")
            link = next(match[0] for line in lines if (match := re.search(r"http://\S+/#\S+", line)))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
                page = browser.new_page(viewport={"width": 1440, "height": 820})
                page.goto(link)
                for text in ("Group: grpo_rule", "Group: intersection", "curves/outcome", "Group by: variant"):
                    expect(page.get_by_text(text).first).to_be_visible(timeout=60_000)
                browser.close()
        finally:
            server.terminate()
