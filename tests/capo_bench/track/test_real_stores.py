"""Stores as users have them: a PostgreSQL that dies, a server that hangs. All comes later, and nothing twice."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import standins
from instore import content
from postgres import BINARIES, PASSWORD, Postgres, free_port

from capo_bench.store.home import write_json
from capo_bench.store.ledger import Ledger
from capo_bench.track.store import store_of
from capo_bench.track.sync import sync as deliver

ROOT = Path(__file__).parents[3]
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "PGCONNECT_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def postgres():
    pytest.importorskip("psycopg2", reason="the extra postgres is not installed")
    if not (BINARIES / "initdb").exists():
        pytest.skip("PostgreSQL's programs (initdb, postgres) are not on this machine")
    server = Postgres()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def mlflow_server(store):
    """MLflow's own server over the store of all tests, which keeps artifacts itself, as a server elsewhere does."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--artifacts-destination", str(store.database.parent / "served")]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        command, env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def healthy():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).status == 200
        except OSError:
            return False

    try:
        standins.wait_until(healthy, 60)
        yield Server(server.pid, f"http://127.0.0.1:{port}")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


class Server:
    def __init__(self, pid, uri):
        self.pid, self.uri = pid, uri

    def halt(self):
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self.pid, signal.SIGCONT)


def prepared(desk, *variants):
    """A plan of trials that have their steps, as those that train have; what the stand-ins add is that they end."""
    plan = desk.plan(*variants)
    for trial in plan.trials:
        write_json(desk.home.trial(trial.id).config, trial.as_json())
        desk.write_steps(trial, 1, 3, seconds=0.5)
    return plan


def whole(plan):
    """What a store holds of such a plan once everything has arrived: every run and every point, once."""
    names = sorted(trial.id for trial in plan.trials)
    runs = [(name, "FINISHED", 1) for name in names]
    curves = [(name, "curves/outcome", step, step / 100, 1) for name in names for step in (1, 2, 3)]
    return runs, curves


def outcomes(store, plan):
    runs, points = content(store, plan)
    assert {count for *_, count in points} <= {1}
    return runs, [point for point in points if point[1] == "curves/outcome"]


def when_written(store, plan, state, action):
    """Do something, in a thread, as soon as the store holds a run in a state."""

    def watch():
        standins.wait_until(lambda: any(found == state for _, found, _ in content(store, plan)[0]), 60)
        action()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def sync(desk, uri):
    command = [sys.executable, "-m", "capo_bench", "sync", desk.study, "--home", str(desk.home.path)]
    env = os.environ | {"MLFLOW_TRACKING_URI": uri}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def assert_nothing_is_owed(desk, store, plan):
    before = content(store, plan)
    found = deliver(desk.home, desk.study, store_of(desk.home))
    assert (found.delivered, found.there) == (0, len(plan.trials))
    assert content(store, plan) == before


@pytest.mark.nightly
def test_a_database_that_is_killed_meanwhile_costs_the_run_nothing_and_gets_the_rest_later(desk, postgres, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.uri)
    store, plan = store_of(desk.home), prepared(desk, "ok", "slow", "slow 2", "ok 2")
    # Makes the tables, so that the run does not end before there are any.
    assert desk.tracker(plan, store).close(finished=False, timeout=60)
    session = standins.Session(desk.home)
    killer = when_written(store, plan, "FINISHED", postgres.kill)
    result = session.run(plan, workers=1, track=True)
    killer.join()
    assert (result.done, result.exit_code) == (4, 0)
    shown = " ".join(session.shown.getvalue().split())
    assert shown.count("tracking failed, the run goes on and what is missing is written later") == 1
    assert PASSWORD not in shown
    assert Ledger(desk.home.study(plan.study).ledger).read()[-1]["tracked"] is False

    down = sync(desk, postgres.uri)
    assert down.returncode == 1
    assert "run it again when the store can be written" in down.stderr
    assert PASSWORD not in down.stderr
    postgres.start()
    assert outcomes(store, plan) != whole(plan)
    assert sync(desk, postgres.uri).returncode == 0
    assert outcomes(store, plan) == whole(plan)
    assert_nothing_is_owed(desk, store, plan)


def test_a_database_that_comes_back_within_the_run_is_told_by_the_run(desk, postgres, until, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.uri)
    store, plan = store_of(desk.home), prepared(desk, "a", "b")
    # Makes the tables, which are looked into before the run has any.
    assert desk.tracker(plan, store).close(finished=False, timeout=60)
    a, b = plan.trials
    tracker = desk.tracker(plan, store, flush_seconds=0.1, retry_seconds=(0.1, 0.2))
    desk.finish(a)
    until(lambda: content(store, plan)[0] == [(a.id, "FINISHED", 1)])
    postgres.kill()
    desk.finish(b)
    until(lambda: tracker.failures > 2)
    postgres.start()
    assert tracker.close(finished=True)
    assert len(desk.warnings) == 1
    assert outcomes(store, plan) == whole(plan)


def test_a_server_that_hangs_holds_nobody_up_and_hears_the_rest_later(desk, store, mlflow_server, monkeypatch):
    for name, value in PATIENCE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    plan = prepared(desk, "ok", "slow", "ok 2")
    session = standins.Session(desk.home)
    halt = when_written(store, plan, "FINISHED", mlflow_server.halt)
    try:
        began = time.monotonic()
        result = session.run(plan, workers=1, track=True)
        assert time.monotonic() - began < 25
        halt.join()
        assert (result.done, result.exit_code) == (3, 0)
        assert "tracking failed, the run goes on" in " ".join(session.shown.getvalue().split())
    finally:
        mlflow_server.go_on()
    assert sync(desk, mlflow_server.uri).returncode == 0
    assert outcomes(store, plan) == whole(plan)
    assert_nothing_is_owed(desk, store, plan)
    (run,) = [run for run in desk.runs() if run.info.run_name.startswith("slow")]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert (store.database.parent / "served" / run.info.experiment_id / run.info.run_id / "artifacts").is_dir()
