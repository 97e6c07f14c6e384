"""The mark beside checkpoints: which is whole, and what is found of those that are not."""

import json
from hashlib import sha256

import pytest

from trainers.checkpoints import MARK, Checkpoint, find_newest, mark, sync


def checkpoint(folder, step, **files):
    path = folder / f"checkpoint-{step}"
    for name, content in ({"model": "weights", "shards/optimizer": "moments"} | files).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


def test_where_nothing_is_marked_nothing_is_found(tmp_path):
    assert find_newest(tmp_path) is None
    checkpoint(tmp_path, 3)
    assert find_newest(tmp_path) is None
    assert find_newest(tmp_path / "not there") is None


def test_the_mark_names_the_checkpoint_and_its_files(tmp_path):
    checkpoint(tmp_path, 3)
    mark(tmp_path, 3, 1)  # three updates on one batch
    told = json.loads((tmp_path / MARK).read_text())
    sums = {"model": sha256(b"weights").hexdigest(), "shards/optimizer": sha256(b"moments").hexdigest()}
    assert told == {"checkpoint": "checkpoint-3", "step": 1, "files": sums}
    assert find_newest(tmp_path) == Checkpoint(tmp_path / "checkpoint-3", 1)


def test_older_checkpoints_go_when_a_newer_one_is_marked_and_not_before(tmp_path):
    checkpoint(tmp_path, 9)
    mark(tmp_path, 9, 9)
    checkpoint(tmp_path, 10)
    assert (tmp_path / "checkpoint-9").exists()
    mark(tmp_path, 10, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", MARK]


def test_what_was_cut_short_after_the_mark_is_deleted(tmp_path):
    checkpoint(tmp_path, 2)
    mark(tmp_path, 2, 2)
    checkpoint(tmp_path, 4)
    assert find_newest(tmp_path).step == 2
    assert not (tmp_path / "checkpoint-4").exists()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: (path / "model").write_text("weigets"), "model not as it was written"),
        (lambda path: (path / "model").write_text("weig"), "model not as it was written"),
        (lambda path: (path / "model").write_text(""), "model not as it was written"),
        (lambda path: (path / "shards" / "optimizer").unlink(), "shards/optimizer not as it was written"),
        (lambda path: path.rename(path.with_name("elsewhere")), "model, shards/optimizer not as it was written"),
    ],
)
def test_a_damaged_checkpoint_is_none_and_the_log_says_why(tmp_path, caplog, damage, told):
    path = checkpoint(tmp_path, 5)
    mark(tmp_path, 5, 5)
    damage(path)
    assert find_newest(tmp_path) is None
    assert f"{path} is damaged ({told}): training starts from nothing" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"step": 5}', '{"files": {"model": 7}}', '{"step": "../5", "files": {"model": 7}}',
     '{"step": 5, "files": 7}', '{"step": 5, "files": {}}', '{"step": null, "files": {"model": 7}}'],
)  # fmt: skip
def test_a_damaged_mark_is_none_and_the_log_says_why(tmp_path, caplog, text):
    checkpoint(tmp_path, 5)
    (tmp_path / MARK).write_text(text)
    assert find_newest(tmp_path) is None
    assert "training starts from nothing" in caplog.text


def test_files_added_to_a_checkpoint_do_no_harm(tmp_path):
    path = checkpoint(tmp_path, 5)
    mark(tmp_path, 5, 5)
    (path / "notes.txt").write_text("mine")
    assert find_newest(tmp_path).step == 5


def test_a_checkpoint_that_is_not_there_cannot_be_marked(tmp_path):
    with pytest.raises(FileNotFoundError):
        mark(tmp_path, 5, 5)
    assert not (tmp_path / MARK).exists()


def test_syncing_a_folder_changes_nothing_in_it(tmp_path):
    path = checkpoint(tmp_path, 1)
    before = {found: found.stat().st_mtime_ns for found in path.rglob("*")}
    sync(path)
    assert {found: found.stat().st_mtime_ns for found in path.rglob("*")} == before
