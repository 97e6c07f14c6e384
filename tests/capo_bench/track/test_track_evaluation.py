"""An evaluation in the tracking store: one run, found again, and never in the way."""

import json

from capo_bench.store.evaluations import Evaluated, EvaluationFiles
from capo_bench.store.home import Home
from capo_bench.track.evaluation import EXPERIMENT, track
from capo_bench.track.store import open_client, store_of
from evals.estimates import Estimate
from evals.harness.results import Result


def evaluated(tmp_path, value=0.5, name="0123abcd0123"):
    files = EvaluationFiles(tmp_path / "evals" / name)
    files.tasks.mkdir(parents=True, exist_ok=True)
    for path in (files.record, files.results, files.table, files.page):
        path.write_text("{}", encoding="utf-8")
    record = {"id": name, "model": "m", "names": ["math500"], "tasks": ["math500"], "identity": {"seed": 3}}
    metrics = {"accuracy": Estimate(value, 0.1, 0.3, 0.7, 20), "pass_at_4": Estimate(0.9, None, 0.1, 1.0, 20)}
    return Evaluated(files, record, [Result("math500", {"samples": 4}, metrics, {}, {"policy_tokens": 12})])


def runs(client):
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_an_evaluation_is_one_run_however_often_it_is_made(store, client, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    told = []
    for value in (0.5, 0.75):
        track(evaluated(tmp_path, value), Home(tmp_path), told.append)
    assert told == []
    (run,) = [run for run in runs(client) if run.data.tags["capo.evaluation"] == "0123abcd0123"]
    assert run.data.metrics == {"math500/accuracy": 0.75, "math500/pass_at_4": 0.9, "math500/policy_tokens": 12}
    assert run.data.params == {"model": "m", "seed": "3"}
    assert run.info.status == "FINISHED"


def test_an_experiment_that_was_deleted_by_hand_is_brought_back(store, client, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    warnings = []
    track(evaluated(tmp_path, name="aaaa"), Home(tmp_path), warnings.append)
    client.delete_experiment(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    track(evaluated(tmp_path, name="bbbb"), Home(tmp_path), warnings.append)
    assert warnings == []
    assert client.get_experiment_by_name(EXPERIMENT).lifecycle_stage == "active"
    assert {"aaaa", "bbbb"} <= {run.data.tags["capo.evaluation"] for run in runs(client)}


def test_artefacts_of_an_evaluation_go_with_a_folder_that_is_moved(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    warnings, there = [], Home(tmp_path / "there")
    track(evaluated(there.path, name="aaaa"), there, warnings.append)
    here = Home(there.path.rename(tmp_path / "he re"))
    track(evaluated(here.path, name="bbbb"), here, warnings.append)
    assert warnings == []
    moved = open_client(store_of(here))
    for run in runs(moved):
        assert run.info.artifact_uri.startswith(here.artifacts.as_uri())
        assert {file.path for file in moved.list_artifacts(run.info.run_id)} >= {"results.json", "table.csv"}
    assert not there.path.exists()


def test_a_store_that_fails_is_told_and_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://u:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = []
    track(evaluated(tmp_path), Home(tmp_path), told.append, seconds=20)
    assert len(told) == 1
    assert told[0].startswith("tracking failed, the evaluation is whole without it (http://***@127.0.0.1:9: ")
    assert json.loads(evaluated(tmp_path).files.results.read_text()) == {}
