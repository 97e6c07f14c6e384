"""Folders in a store: what is there is what the last whole push left."""

import json
import shutil
import uuid
from pathlib import Path

import pytest
from fsspec.registry import known_implementations

from capo_bench.run.cluster import artifacts
from capo_bench.run.cluster.artifacts import MANIFEST, Store, StoreError
from capo_bench.run.errors import RunError


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    """A disk, where files are renamed into place, and an object store, where a put is atomic."""
    return f"file://{tmp_path}/store" if request.param == "file" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url):
    return Store(url)


@pytest.fixture
def trial(tmp_path):
    folder = tmp_path / "here" / "trial"
    for name, text in {
        "config.json": "{}", "steps.jsonl": '{"step": 1}\n', "checkpoints/checkpoint-1/state.bin": "one",
        "checkpoints/resume.json": '{"checkpoint": "checkpoint-1", "step": 1}', "lock": "", ".model/half": "x",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def puts(monkeypatch):
    """The names of what is put, in order."""
    seen = []
    put = Store._put
    monkeypatch.setattr(Store, "_put", lambda self, name, call: (seen.append(name), put(self, name, call))[1])
    return seen


def test_what_is_pushed_here_is_pulled_there_without_locks_and_work_in_progress(store, trial, tmp_path):
    assert not store.has("trials/a")
    store.push("trials/a", trial)
    assert store.has("trials/a")
    assert store.pull("trials/a", tmp_path / "there")
    expected = contents(trial)
    del expected["lock"], expected[".model/half"]
    assert contents(tmp_path / "there") == expected


def test_nothing_is_pulled_of_what_was_never_pushed(store, tmp_path):
    assert not store.pull("trials/a", tmp_path / "there")
    assert not store.pull_whole("cache/a", tmp_path / "there")
    store.pull_file("a.log", tmp_path / "there" / "a.log")
    assert not (tmp_path / "there").exists()


def test_only_what_is_new_or_changed_is_pushed_and_the_manifest_comes_last(store, trial, puts):
    store.push("t", trial)
    assert puts[-1] == f"t/{MANIFEST}"
    puts.clear()
    with (trial / "steps.jsonl").open("a") as steps:
        steps.write('{"step": 2}\n')
    store.push("t", trial)
    assert puts == ["t/steps.jsonl", f"t/{MANIFEST}"]


def test_what_names_other_files_goes_after_them_and_the_metrics_after_all(store, trial, puts):
    (trial / "metrics.json").write_text("{}")
    (trial / "evaluation" / "coins").mkdir(parents=True)
    (trial / "evaluation" / "coins" / "result.json").write_text("{}")
    (trial / "evaluation" / "coins" / "samples.jsonl").write_text("{}")
    store.push("t", trial)
    at = {name.removeprefix("t/"): place for place, name in enumerate(puts)}
    assert at["checkpoints/checkpoint-1/state.bin"] < at["checkpoints/resume.json"]
    assert at["evaluation/coins/samples.jsonl"] < at["evaluation/coins/result.json"]
    assert puts[-2:] == ["t/metrics.json", f"t/{MANIFEST}"]


def test_what_is_gone_here_goes_there_too(store, trial, tmp_path):
    store.push("t", trial)
    shutil.rmtree(trial / "checkpoints")
    store.push("t", trial)
    store.pull("t", tmp_path / "there")
    assert set(contents(tmp_path / "there")) == {"config.json", "steps.jsonl"}


def test_a_push_that_a_crash_cuts_off_leaves_what_was_there_before(store, trial, tmp_path, monkeypatch):
    store.push("t", trial)
    (trial / "model").mkdir()
    (trial / "model" / "weights").write_text("w")
    (trial / "model" / "tokenizer.json").write_text("t")

    def power_cut(self, name, call):
        if name.endswith("tokenizer.json"):
            raise KeyboardInterrupt
        return put(self, name, call)

    put = Store._put
    monkeypatch.setattr(Store, "_put", power_cut)
    with pytest.raises(KeyboardInterrupt):
        store.push("t", trial)
    store.pull("t", tmp_path / "there")
    assert not (tmp_path / "there" / "model").exists()  # a folder that means "trained" by being there
    monkeypatch.undo()
    store.push("t", trial)
    store.pull("t", tmp_path / "there")
    assert contents(tmp_path / "there" / "model") == {"weights": "w", "tokenizer.json": "t"}


def test_a_checkpoint_that_is_replaced_during_a_push_is_never_named_without_its_files(
    store, trial, tmp_path, monkeypatch
):
    put = Store._put_file

    def replaced(self, name, source):
        if "checkpoint-1" in name:
            monkeypatch.undo()
            shutil.rmtree(trial / "checkpoints" / "checkpoint-1")
            (trial / "checkpoints" / "checkpoint-2").mkdir()
            (trial / "checkpoints" / "checkpoint-2" / "state.bin").write_text("two")
            (trial / "checkpoints" / "resume.json").write_text('{"checkpoint": "checkpoint-2", "step": 2}')
        put(self, name, source)

    monkeypatch.setattr(Store, "_put_file", replaced)
    store.push("t", trial)
    store.pull("t", tmp_path / "there")
    named = json.loads((tmp_path / "there" / "checkpoints" / "resume.json").read_text())["checkpoint"]
    assert (tmp_path / "there" / "checkpoints" / named / "state.bin").read_text() == "two"


def test_parts_that_are_not_wanted_stay_away(store, trial, tmp_path):
    store.push("t", trial)
    store.pull("t", tmp_path / "there", without={"checkpoints"})
    assert set(contents(tmp_path / "there")) == {"config.json", "steps.jsonl"}


def test_what_is_here_already_is_not_fetched_again_but_what_changed_there_is(store, trial, tmp_path, monkeypatch):
    store.push("t", trial)
    store.pull("t", tmp_path / "there")
    got = []
    get = Store._get
    monkeypatch.setattr(Store, "_get", lambda self, name, target: (got.append(name), get(self, name, target))[1])
    store.pull("t", tmp_path / "there")
    assert got == []
    (trial / "steps.jsonl").write_text("other")
    store.push("t", trial)
    store.pull("t", tmp_path / "there")
    assert got == ["t/steps.jsonl"]
    assert (tmp_path / "there" / "steps.jsonl").read_text() == "other"


def test_a_folder_pulled_whole_appears_at_once_and_is_then_left_alone(store, trial, tmp_path):
    store.push("cache/cold", trial)
    there = tmp_path / "there" / "cold"
    assert store.pull_whole("cache/cold", there)
    (trial / "config.json").write_text("new")
    store.push("cache/cold", trial)
    assert store.pull_whole("cache/cold", there)
    assert (there / "config.json").read_text() == "{}"
    assert [path.name for path in there.parent.iterdir()] == ["cold"]


def test_a_single_file_goes_and_comes(store, tmp_path):
    (tmp_path / "a.log").write_text("it began")
    store.push_file("logs/a.log", tmp_path / "a.log")
    store.push_file("logs/b.log", tmp_path / "b.log")
    assert (store.has_file("logs/a.log"), store.has_file("logs/b.log")) == (True, False)
    store.pull_file("logs/a.log", tmp_path / "back.log")
    assert (tmp_path / "back.log").read_text() == "it began"


def test_no_half_file_is_ever_at_a_files_name_on_a_disk(tmp_path, monkeypatch):
    store, source = Store(f"file://{tmp_path}/store"), tmp_path / "big"
    source.write_text("x" * 1000)
    monkeypatch.setattr(artifacts, "TRIES", 1)

    def torn(self, local, remote, **more):
        Path(remote).write_text("x" * 10)
        raise OSError("the line is down")

    monkeypatch.setattr(type(store._fs), "put_file", torn)
    with pytest.raises(StoreError, match=r"cannot put a/big .* tried 1 times: OSError: the line is down"):
        store.push_file("a/big", source)
    assert not (tmp_path / "store" / "a" / "big").exists()


def test_what_fails_is_tried_again_after_ever_longer_waits(store, trial, tmp_path, monkeypatch):
    waits, failures = [], iter([True, True, False])
    monkeypatch.setattr(artifacts.time, "sleep", waits.append)
    pipe = type(store._fs).pipe_file

    def flaky(self, *arguments, **more):
        if next(failures, False):
            raise TimeoutError("slow down")
        return pipe(self, *arguments, **more)

    monkeypatch.setattr(type(store._fs), "pipe_file", flaky)
    store.push("t", trial)
    assert waits == [1.0, 2.0]
    assert store.pull("t", tmp_path / "there")


def test_an_error_does_not_show_a_key(store, trial, monkeypatch):
    def refuse(self, *arguments, **more):
        raise PermissionError("403 for https://u:hunter2secret@host/bucket")

    monkeypatch.setattr(artifacts.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(type(store._fs), "pipe_file", refuse)
    with pytest.raises(StoreError) as told:
        store.push("t", trial)
    assert "hunter2secret" not in str(told.value)


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setitem(known_implementations, "far", {"class": "far_away.FS", "err": "Install farfs"})
    with pytest.raises(RunError, match=r"--artifacts far://bucket: Install farfs; install the package in the env"):
        Store("far://bucket")


def test_an_unknown_protocol_is_a_mistake(monkeypatch):
    with pytest.raises(RunError, match="Protocol not known: nowhere"):
        Store("nowhere://bucket")
