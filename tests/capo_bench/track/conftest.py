import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "run"))

import standins

from capo_bench.store.home import Home, write_json
from capo_bench.store.ledger import Ledger
from capo_bench.study.last_plan import NOTHING_ASKED, keep_plan
from capo_bench.track.store import Store, open_client, store_of
from capo_bench.track.tracker import Tracker


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One store for all tests, as making it takes seconds; each test has a study of its own in it."""
    made = store_of(Home(tmp_path_factory.mktemp("store")))
    open_client(made)
    return made


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "runs")


@pytest.fixture
def client(store):
    from mlflow import MlflowClient

    return MlflowClient(store.uri)


class Desk:
    """Trackers of one study, and what is in the store after them."""

    def __init__(self, home, store, client, study, monkeypatch):
        self.monkeypatch = monkeypatch
        self.home, self.store, self.client, self.study = home, store, client, study
        self.warnings = []

    def plan(self, *variants, seeds=(0,)):
        return standins.make_plan(variants, seeds, study=self.study)

    def happen(self, kind, trial, **told):
        """Let the ledger tell of an event of a trial."""
        Ledger(self.home.study(self.study).ledger).append(
            kind, trial=trial.id, variant=trial.variant, seed=trial.seed, seconds=1.0, error="no", log="x", **told
        )

    def tracker(self, plan, store=None, **options):
        return Tracker(plan, self.home, store or self.store, self.warnings.append, **options).__enter__()

    def session(self):
        """The runner with its tracking in the store."""
        self.monkeypatch.setenv("MLFLOW_TRACKING_URI", self.store.uri)
        return standins.Session(self.home)

    def runs(self, kind="trial"):
        experiment = self.client.get_experiment_by_name(self.study)
        found = self.client.search_runs([experiment.experiment_id], f"tags.`capo.kind` = '{kind}'")
        return sorted(found, key=lambda run: run.info.run_name)

    def write_steps(self, trial, first, last, **values):
        path = self.home.trial(trial.id).steps
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            for step in range(first, last + 1):
                file.write(json.dumps({"step": step, "outcome": step / 100, **values}) + "\n")

    def finish(self, trial):
        folder = self.home.trial(trial.id)
        folder.samples("coins_test").parent.mkdir(parents=True, exist_ok=True)
        folder.samples("coins_test").write_text('{"problem": "coins/test/1", "correct": true}\n')
        asked = {"identity": {"task": "coins_test"}, "asked": [{"problem": "coins/test/1"}]}
        write_json(folder.completions("coins_test") / "task.json", asked)
        folder.log.write_text("loaded\n")
        write_json(folder.provenance, {"git": {"commit": "abc"}, "packages": {"torch": "2.13.0"}})
        standins.finish(trial, self.home)

    def curve(self, run, name):
        return [(point.step, point.value) for point in self.client.get_metric_history(run.info.run_id, name)]

    def files(self, run, folder=None):
        return sorted(item.path for item in self.client.list_artifacts(run.info.run_id, folder))

    def text(self, run, path):
        return Path(self.client.download_artifacts(run.info.run_id, path)).read_text()


@pytest.fixture
def desk(home, store, client, request, monkeypatch):
    return Desk(home, store, client, request.node.name[:60], monkeypatch)


@pytest.fixture
def study(desk):
    """Three trials that were run without a store: two done, one failed."""
    plan = desk.plan("a", "b", "c")
    ledger = Ledger(desk.home.study(plan.study).ledger)
    ids = [trial.id for trial in plan.trials]
    ledger.append("study_started", profile="quick", plan=ids)
    keep_plan(plan, desk.home, NOTHING_ASKED)
    for trial in plan.trials:
        folder = desk.home.trial(trial.id)
        write_json(folder.config, trial.as_json())
        desk.write_steps(trial, 1, 3)
    for trial in plan.trials[:2]:
        desk.finish(trial)
        ledger.append("trial_done", trial=trial.id, variant=trial.variant, seed=0, seconds=1.0)
    failed = plan.trials[2]
    ledger.append("trial_failed", trial=failed.id, variant=failed.variant, seed=0, error="ValueError: no", log="x")
    return plan


@pytest.fixture
def until():
    return standins.wait_until


@pytest.fixture
def broken_store(tmp_path):
    (tmp_path / "file").write_text("no folder")
    return Store(f"sqlite:///{tmp_path}/file/mlflow.db")
