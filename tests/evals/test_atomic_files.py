import os

import pytest

from evals.files import drop_torn, write_atomic


def test_a_file_is_replaced_in_one_go_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "metrics.json"
    write_atomic(path, "old")
    write_atomic(path, b"new")
    assert path.read_text() == "new"
    assert [found.name for found in path.parent.iterdir()] == ["metrics.json"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writes_left_goes_and_all_else_stays(tmp_path):
    torn = [".metrics.json.0123456789abcdef", "evaluation/coins/.samples.jsonl.ffffffffffffffff"]
    kept = ["metrics.json", ".model/model.safetensors", ".hidden", ".metrics.json.0123", "evaluation/.lock"]
    for name in [*torn, *kept]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    drop_torn(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(kept)
    drop_torn(tmp_path / "not there")
