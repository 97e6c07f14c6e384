"""What was missed is delivered later, once, whatever interrupted it."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner
from instore import content
from mlflow.exceptions import MlflowException

from capo_bench.cli import main
from capo_bench.track.store import store_of
from capo_bench.track.study import StudyBook
from capo_bench.track.sync import sync


def test_all_is_delivered_and_then_nothing(desk, study, store):
    found = sync(desk.home, study.study, store)
    assert (found.delivered, found.there, found.running) == (3, 0, False)
    runs, points = content(store, study)
    assert runs == [("a-0", "FINISHED", 1), ("b-0", "FINISHED", 1), ("c-0", "FAILED", 1)]
    assert {count for *_, count in points} == {1}
    a = desk.runs()[0]
    assert desk.curve(a, "curves/outcome") == [(1, 0.01), (2, 0.02), (3, 0.03)]
    assert a.data.params == {"variant": "a", "seed": "0", "method": "capo", "train.steps": "10"}
    again = sync(desk.home, study.study, store)
    assert (again.delivered, again.there) == (0, 3)
    assert content(store, study) == (runs, points)


def test_a_run_that_follows_finds_what_was_delivered(desk, study, store):
    sync(desk.home, study.study, store)
    before = content(store, study)
    assert desk.tracker(study).close(finished=False)
    assert content(store, study) == before


class Dying:
    """A client that fails at its n-th call, after the store has done what it was asked, or before."""

    def __init__(self, client, calls, after):
        self._client, self._left, self._after = client, calls, after

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            self._left -= 1
            if self._left == 0:
                if self._after:
                    method(*args, **kwargs)
                raise MlflowException("the connection was lost")
            return method(*args, **kwargs)

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupted_at_any_call_it_ends_with_everything_once(desk, study, store, monkeypatch, after):
    from capo_bench.track import study as books

    opened = books.open_client
    for calls in range(1, 90, 4):
        monkeypatch.setattr(books, "open_client", lambda store, n=calls: Dying(opened(store), n, after))
        try:
            sync(desk.home, study.study, store)
        except MlflowException:
            continue
        break
    monkeypatch.setattr(books, "open_client", opened)
    sync(desk.home, study.study, store)
    runs, points = content(store, study)
    assert runs == [("a-0", "FINISHED", 1), ("b-0", "FINISHED", 1), ("c-0", "FAILED", 1)]
    assert {count for *_, count in points} == {1}
    assert [step for step, _ in desk.curve(desk.runs()[0], "curves/outcome")] == [1, 2, 3]


def test_points_written_twice_are_one(desk, study, store):
    sync(desk.home, study.study, store)
    before = content(store, study)
    StudyBook(study, desk.home, store)._write_end("a-0", "done")
    assert content(store, study) == before


def test_a_store_that_comes_back_during_the_run_gets_what_it_missed(desk, study, store, until, monkeypatch):
    from capo_bench.track import study as books

    opened, down = books.open_client, [True]

    def maybe(store):
        if down[0]:
            raise MlflowException("the store is down")
        return opened(store)

    monkeypatch.setattr(books, "open_client", maybe)
    tracker = desk.tracker(study, retry_seconds=(0.05, 0.1))
    until(lambda: tracker.failures > 2)
    assert len(desk.warnings) == 1
    down[0] = False
    assert tracker.close(finished=False)
    runs, points = content(store, study)
    assert runs == [("a-0", "FINISHED", 1), ("b-0", "FINISHED", 1), ("c-0", "FAILED", 1)]
    assert {count for *_, count in points} == {1}


def test_a_damaged_store_is_named_and_written_anew_once_it_is_moved_away(desk, study, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = store_of(desk.home)
    store.database.write_bytes(b"no database" * 1000)
    refused = CliRunner().invoke(main, ["sync", "--home", str(desk.home.path)])
    assert refused.exit_code == 1
    way_out = f"move {store.database} away: capo-bench sync writes its studies anew, capo-bench eval an evaluation"
    assert "file is not a database" in refused.output
    assert way_out in refused.output
    assert not desk.tracker(study, store=store).close(finished=False)
    assert way_out in desk.warnings[0]
    store.database.rename(store.database.with_name("damaged.db"))
    done = CliRunner().invoke(main, ["sync", "--home", str(desk.home.path)])
    assert done.exit_code == 0, done.output
    assert "3 trials delivered" in " ".join(done.output.split())


def test_damaged_results_of_one_study_keep_no_other_from_its_delivery(desk, study, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = desk.home
    shutil.copytree(home.study(study.study).path, home.study("aaa").path)
    plan = next(home.study("aaa").path.rglob("plan.json"))
    plan.write_text("{", encoding="utf-8")
    done = CliRunner().invoke(main, ["sync", "--home", str(home.path)])
    assert done.exit_code == 2
    assert "aaa: not delivered: " in done.output
    assert "plan.json" in done.output
    assert "3 trials delivered" in " ".join(done.output.split())
