"""Content hashes of models."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from evals.fingerprint import fingerprint_adapter, fingerprint_weights


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_fingerprint_is_of_the_weights_alone(model):
    before = fingerprint_weights(model)
    assert len(before) == 12
    (model / "config.json").write_text('{"a": 1}')
    os.utime(model / "model.safetensors", (0, 0))
    assert fingerprint_weights(model) == before
    (model / "model.safetensors").write_bytes(b"weightz")
    assert fingerprint_weights(model) != before


def test_a_fingerprint_covers_every_shard_and_large_files_to_the_end(model):
    whole = bytes(3 << 20)
    (model / "model-2.safetensors").write_bytes(whole)
    before = fingerprint_weights(model)
    (model / "model-2.safetensors").write_bytes(whole[:-1] + b"\x01")
    changed = fingerprint_weights(model)
    (model / "model-2.safetensors").unlink()
    assert len({before, changed, fingerprint_weights(model)}) == 3


def test_a_copy_has_the_same_fingerprint_elsewhere(model, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "model"
    shutil.copytree(model, copy)
    assert fingerprint_weights(copy) == fingerprint_weights(model)


def test_a_folder_without_weights_has_none(tmp_path):
    assert fingerprint_weights(tmp_path) is None
    assert fingerprint_weights(tmp_path / "no" / "such" / "folder") is None


def test_weights_in_the_older_format_count_where_there_are_no_others(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"old")
    old = fingerprint_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    new = fingerprint_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    assert old is not None
    assert old != new == fingerprint_weights(tmp_path)


def adapter(folder, weights=b"weights", **settings):
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "base_model_name_or_path": "/a", **settings}))
    return fingerprint_adapter(folder)


def test_an_adapter_is_its_weights_and_settings_wherever_its_base_lies(tmp_path):
    first = adapter(tmp_path / "first")
    assert adapter(tmp_path / "moved", base_model_name_or_path="/b") == first
    assert adapter(tmp_path / "scaled", lora_alpha=32) != first
    assert adapter(tmp_path / "trained", weights=b"weightz") != first
