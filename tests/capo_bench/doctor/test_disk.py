"""Whether disks hold what comes onto them: on real folders; how much is free is stood in for."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from capo_bench.doctor import disk
from capo_bench.doctor.needs import collect_needs
from capo_bench.study.load import load_plan
from capo_bench.study.memory import count_trained_parameters
from trainers.backbones import BACKBONES

POLICY, POLICY_SIZE = "Qwen/Qwen2.5-1.5B", 4 * 1543714304  # held in float32
PRM, PRM_SIZE = "Qwen/Qwen2.5-Math-PRM-7B", 2 * 7_600_000_000  # in bfloat16
ONE = "method={},backbone=qwen2.5-1.5b"
TRIALS = 3
LEFT = TRIALS * (16 * 2**20 + POLICY_SIZE) + 24 * 1543714304
"""Of three seeds: a model each of 4 bytes a parameter, and two checkpoints of 12."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, on the disk of the results folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def needs(method="prm_min", *sets):
    return collect_needs(load_plan("main", "paper", sets, (ONE.format(method),)))


def sizes(found):
    return {item.name: count for item, count in disk.list_downloads(found).items() if item.kind == "model"}


def free(monkeypatch, count):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(0, 0, count))


def keep(cache, item):
    """Put a model of one number into the cache, as a download would."""
    there = cache / f"models--{item.name.replace('/', '--')}" / "snapshots" / item.revision
    there.mkdir(parents=True)
    (there / "config.json").write_text("{}")
    save_file({"w": torch.zeros(1)}, there / "model.safetensors")


def test_models_are_counted_in_the_type_that_they_are_loaded_with():
    assert sizes(needs("grpo_rule")) == {POLICY: POLICY_SIZE}
    assert sizes(needs()) == {POLICY: POLICY_SIZE, PRM: PRM_SIZE}
    assert sizes(needs("prm_min", "prm.dtype=float32"))[PRM] == 2 * PRM_SIZE
    assert sizes(needs("base")) == {POLICY: POLICY_SIZE}, "measured, and not trained"
    local = "critic={name: transformers, model: org/critic, dtype: float16, parameters: 1e9}"
    assert sizes(needs("capo", local)) == {POLICY: POLICY_SIZE, "org/critic": 2 * 10**9}
    assert sizes(needs("capo", "critic={name: transformers, model: policy}")) == {POLICY: POLICY_SIZE}


def test_the_embedded_ones_and_a_critic_that_is_served_are_not_downloaded():
    assert disk.list_downloads(collect_needs(load_plan("main", "quick"))) == {}
    assert sizes(needs("capo")) == {POLICY: POLICY_SIZE}


def test_what_is_in_the_cache_or_a_folder_is_not_downloaded(cache, tmp_path):
    for item in [*needs().hub][:2]:
        assert item.name in sizes(needs())
        keep(cache, item)
    assert sizes(needs()) == {}
    assert sizes(needs("prm_min", f"prm.model={tmp_path}")) == {}
    assert sizes(needs("prm_min", "prm.model=org/prm", "prm.parameters=null")) == {"org/prm": None}


def test_the_disk_has_to_hold_what_trials_leave_and_what_is_downloaded(tmp_path, monkeypatch):
    wanted = LEFT + POLICY_SIZE + PRM_SIZE + 5
    free(monkeypatch, wanted)
    (fits,) = disk.check_disks(needs(), tmp_path / "not" / "yet", 5)
    assert (fits.what, fits.state) == ("disk", "ok")
    assert f"about {wanted / 2**30:.1f} GiB needed for 3 trials and downloads (" in fits.text
    assert f"{POLICY} {POLICY_SIZE / 2**30:.1f} GiB, {PRM} {PRM_SIZE / 2**30:.1f} GiB)" in fits.text
    assert fits.text.endswith(" datasets")
    free(monkeypatch, wanted - 1)
    (full,) = disk.check_disks(needs(), tmp_path, 5)
    assert full.state == "missing"
    assert "HF_HOME" in full.remedy


def test_a_trial_leaves_what_it_has_trained():
    assert needs("grpo_rule").models == {"qwen2.5-1.5b": TRIALS}
    assert needs("base").models == {}
    lora = BACKBONES.load("qwen2.5-7b-lora")
    both = {**needs("grpo_rule").backbones, "qwen2.5-7b-lora": lora}
    found = replace(needs("grpo_rule"), trials=9, backbones=both, models={"qwen2.5-1.5b": 3, "qwen2.5-7b-lora": 3})
    adapter = 4 * count_trained_parameters(lora)
    assert adapter < POLICY_SIZE / 10
    assert disk.estimate_written_bytes(found) == 9 * 16 * 2**20 + 3 * (POLICY_SIZE + adapter) + 2 * 3 * POLICY_SIZE


def test_a_model_of_unknown_size_is_told_and_not_counted_as_nothing(tmp_path, monkeypatch):
    unsaid = needs("prm_min", "prm.model=org/prm", "prm.parameters=null")
    free(monkeypatch, LEFT + POLICY_SIZE)
    (found,) = disk.check_disks(unsaid, tmp_path, 0)
    assert found.state == "unknown"
    assert "not counted, of unknown size: org/prm, " in found.text
    assert "prm.parameters" in found.remedy
    free(monkeypatch, LEFT + POLICY_SIZE - 1)
    assert next(disk.check_disks(unsaid, tmp_path, 0)).state == "missing", "whatever the model is like"


def test_nothing_of_the_hub_is_no_word_about_it(tmp_path):
    (found,) = disk.check_disks(collect_needs(load_plan("voting", "quick")), tmp_path, 1)
    assert found.state == "ok"
    assert found.text.endswith(" trials")


SHARED_MEMORY = Path("/dev/shm")


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no second disk here")
def test_a_cache_on_another_disk_has_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(SHARED_MEMORY / "not-yet"))
    free(monkeypatch, LEFT)
    results, models = disk.check_disks(needs(), tmp_path, 0)
    assert (results.what, results.state, results.text.split(" for ")[1]) == ("disk", "ok", "3 trials")
    assert (models.what, models.state) == ("disk of the hub's cache", "ok")
    free(monkeypatch, POLICY_SIZE + PRM_SIZE - 1)
    assert [one.state for one in disk.check_disks(needs(), tmp_path, 0)] == ["missing", "missing"]


def test_the_clock_of_the_disk_is_ours(tmp_path, monkeypatch):
    assert disk.check_file_clock(tmp_path).state == "ok"
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert disk.check_file_clock(tmp_path).state == "warning"
