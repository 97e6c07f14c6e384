"""What travels with a job: to the node before it, to the store while it runs, home after it."""

import os
from dataclasses import replace

import pytest
import standins

from capo_bench.home import Home, read_json, write_json
from capo_bench.run.cluster import staging
from capo_bench.run.cluster.artifacts import Store, StoreError
from capo_bench.run.cluster.couriers import Couriers
from capo_bench.run.cluster.donors import stage_marks
from capo_bench.run.cluster.staging import Staging, collect, log_name, moved, seed, shared_folders, trial_folder
from capo_bench.run.executor import Job
from capo_bench.study.identity import generation_key, training_key

DONE = {"kind": "end", "status": "done"}


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/store"


@pytest.fixture
def node(tmp_path):
    return Home(tmp_path / "node")


@pytest.fixture
def stage(url, node):
    """Stages a job on the node."""
    opened = []

    def open_one(job):
        opened.append(Staging(url, job, node.path))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def share(job, identity):
    """The job of a trial whose stages others may share."""
    return replace(job, trial=replace(job.trial, identity=identity))


IDENTITY = {"version": 1, "training": {"method": "capo"}, "generation": {"tasks": {"coins_test": {"samples": 4}}}}


def leave_donor(home, name="donor"):
    """What a trial leaves that has trained, and the index that names it."""
    folder = home.trial(name)
    (folder.model / "weights").parent.mkdir(parents=True)
    (folder.model / "weights").write_text("w")
    write_json(folder.checkpoints / "resume.json", {})
    write_json(folder.metrics, {"metrics": {}, "cost": {}})
    write_json(home.stage(training_key(IDENTITY, 0)), {"trial": name})


def test_a_jobs_paths_keep_their_places_in_another_home(job, node):
    there = moved(job("ok"), node.path)
    assert there.log == node.trial("ok-0").log
    assert there.lock == node.path / "trials" / "ok-0" / "lock"
    assert (trial_folder(there), log_name(there)) == ("trials/ok-0", "trials/ok-0/trial.log")


def test_a_trial_goes_on_elsewhere_from_what_was_pushed(job, stage, node, url, tmp_path):
    here = stage(job("slow"))
    write_json(here.job.home / "trials" / "slow-0" / "checkpoints" / "state.json", {"step": 10})
    here.keep(last=True)
    there = Staging(url, job("slow"), tmp_path / "other")
    there.fetch()
    assert read_json(tmp_path / "other" / "trials" / "slow-0" / "checkpoints" / "state.json") == {"step": 10}
    there.close()


def test_a_new_checkpoint_or_a_new_stage_is_worth_a_push_and_a_step_is_not(job, stage, node):
    here = stage(job("slow"))
    here.fetch()
    assert not here.changed([{"kind": "step"}])
    assert here.changed([{"kind": "step"}, {"kind": "stage", "stage": "generate"}])
    write_json(node.trial("slow-0").checkpoints / "resume.json", {})
    assert here.changed([])
    assert not here.changed([])


def test_a_push_beside_the_work_shows_its_failure_at_the_next(job, stage, node, monkeypatch):
    here = stage(job("slow"))
    write_json(node.trial("slow-0").config, {})

    def refuse(self, folder, source):
        raise StoreError("gone")

    monkeypatch.setattr(Store, "push", refuse)
    here.keep()
    with pytest.raises(StoreError, match="gone"):
        here.keep(last=True)


def test_a_trial_leaves_the_node_and_shared_models_stay(job, stage, node):
    here = stage(job("slow"))
    write_json(node.trial("slow-0").config, {})
    (node.cache("cold_start", "a")).mkdir(parents=True)
    here.close()
    assert not node.trial("slow-0").path.exists()
    assert node.cache("cold_start", "a").exists()


def cold_start_job(home):
    trial = standins.make_plan(["ok"], cold=("ok",)).trials[0]
    lock = home.path / "cache" / "cold_start.lock"
    return Job("cold_start", standins.PREPARE, trial, home.path, home.study("demo").path / "cold_start.log", lock)


def test_a_shared_model_made_on_one_node_is_on_the_next_and_at_home(home, url, node, tmp_path, stage):
    job = cold_start_job(home)
    [folder] = shared_folders(job)
    here = stage(job)
    here.fetch()
    (node.path / folder).mkdir(parents=True)
    (node.path / folder / "model.bin").write_text("m")
    here.job.log.parent.mkdir(parents=True)
    here.job.log.write_text("made it\n")
    here.keep(last=True)

    trial = replace(job, do="trial")
    there = Staging(url, trial, tmp_path / "other")
    there.fetch()
    there.close()
    assert (tmp_path / "other" / folder / "model.bin").read_text() == "m"

    collect(url, job, done=True)
    assert (home.path / folder / "model.bin").read_text() == "m"
    assert job.log.read_text() == "made it\n"


def test_what_was_begun_at_home_goes_to_the_store_once(home, job, url):
    checkpoint = home.trial("slow-0").checkpoints / "state.json"
    write_json(checkpoint, {"step": 10})
    seed(url, job("slow"))
    write_json(checkpoint, {"step": 20})
    seed(url, job("slow"))  # by now a node may have gone on from there
    store = Store(url)
    store.pull("trials/slow-0", home.path / "seen")
    assert read_json(home.path / "seen" / "checkpoints" / "state.json") == {"step": 10}


def test_home_gets_a_finished_trial_without_its_checkpoints_and_of_a_failed_one_the_log(home, job, stage, node, url):
    here = stage(job("slow"))
    folder = node.trial("slow-0")
    write_json(folder.checkpoints / "state.json", {})
    write_json(folder.metrics, {"metrics": {}})
    folder.log.write_text("log\n")
    here.keep(last=True)
    collect(url, job("slow"), done=False)
    assert [path.name for path in home.trial("slow-0").path.iterdir()] == ["trial.log"]
    collect(url, job("slow"), done=True)
    assert home.trial("slow-0").done
    assert not home.trial("slow-0").checkpoints.exists()


def test_a_stand_in_shares_no_stage(job):
    assert stage_marks(job("ok")) == []


def test_a_stages_index_names_training_and_each_task(job):
    mine = share(job("ok"), IDENTITY)
    keys = [training_key(IDENTITY, 0), generation_key(IDENTITY, "coins_test", 0)]
    assert stage_marks(mine) == [f"cache/stages/{key}.json" for key in keys]


def test_a_donor_at_home_is_brought_to_the_node(home, job, url, stage, node):
    leave_donor(home)
    mine = share(job("ok"), IDENTITY)
    seed(url, mine)
    stage(mine).fetch()
    assert (node.trial("donor").model / "weights").read_text() == "w"
    assert not node.trial("donor").checkpoints.exists()
    assert read_json(node.stage(training_key(IDENTITY, 0))) == {"trial": "donor"}


def test_a_trial_that_ran_on_one_node_is_a_donor_on_another_and_named_at_home(home, job, url, stage, node, tmp_path):
    first = stage(share(job("ok"), IDENTITY))
    leave_donor(node, "ok-0")
    first.keep(last=True)
    collect(url, share(job("ok"), IDENTITY), done=True)
    assert read_json(home.stage(training_key(IDENTITY, 0))) == {"trial": "ok-0"}

    second = Staging(url, share(job("other"), IDENTITY), tmp_path / "other")
    second.fetch()
    second.close()
    assert (Home(tmp_path / "other").trial("ok-0").model / "weights").read_text() == "w"


def test_without_a_store_nothing_is_carried_and_ends_come_back_as_they_were(job):
    couriers, mine = Couriers(None), job("ok")
    couriers.seed(mine)
    standins.wait_until(couriers._seeds[0][1].done)
    assert list(couriers.seeded()) == [(mine, None)]
    couriers.collect(mine, DONE)
    assert couriers.busy
    assert standins.wait_until(lambda: list(couriers.ended())) == [(mine, DONE)]
    assert not couriers.busy
    couriers.close()


def test_a_store_that_cannot_be_reached_fails_the_job_as_an_endpoint(job, url, monkeypatch):
    def refuse(url, job, **more):
        raise StoreError("no route")

    couriers, mine = Couriers(url), job("ok")
    monkeypatch.setattr("capo_bench.run.cluster.couriers.seed", refuse)
    monkeypatch.setattr("capo_bench.run.cluster.couriers.collect", refuse)
    told = {"kind": "end", "status": "failed", "error": "no route", "cause": "endpoint"}
    couriers.seed(mine)
    assert standins.wait_until(lambda: list(couriers.seeded())) == [(mine, told)]
    couriers.collect(mine, DONE)
    assert standins.wait_until(lambda: list(couriers.ended())) == [(mine, told)]
    own = {"kind": "end", "status": "failed", "error": "of its own"}
    couriers.collect(mine, own)
    assert standins.wait_until(lambda: list(couriers.ended())) == [(mine, own)]
    couriers.close()


def test_stamps_survive_the_way_so_that_nothing_travels_twice(job, stage, node, url, tmp_path):
    here = stage(job("slow"))
    path = node.trial("slow-0").steps
    write_json(path, {})
    os.utime(path, ns=(10**18, 10**18))
    here.keep(last=True)
    there = Staging(url, job("slow"), tmp_path / "other")
    there.fetch()
    assert Home(tmp_path / "other").trial("slow-0").steps.stat().st_mtime_ns == 10**18
    there.close()
    assert staging._age(path) == 10**18
