"""Trials of a hub's backbone, by a real worker: each stage in a process of its own, adapters through all commands."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from commands import capo_bench
from standins import Session
from watched import LEFT

from capo_bench.run.evaluation import ask
from capo_bench.store.home import Home, TrialFolder, read_json
from capo_bench.study.load import load_plan
from evals.fingerprint import fingerprint_adapter, fingerprint_weights
from evals.harness.asking import complete
from evals.harness.folder import read_task
from trainers.backbones import BACKBONES, OWN_FOLDER
from trainers.backbones.tiny import build_model, build_tokenizer, save

STUDY = """
name: adapted
question: Does a model of a hub leave nothing behind?
baseline: grpo_rule
metrics: [coins_test/accuracy]
base:
  backbone: adapted
  cold_start: null
  critic: {name: noisy}
  train: {steps: 2, prompts_per_step: 1, group_size: 2, max_completion_tokens: 12}
  evaluation: {tasks: [coins_test], problems: 2, max_completion_tokens: 12}
include:
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: capo, set: {method: capo}}
seeds: [0]
"""
TEXT = "Ann has 3 coins. Ann finds 4. How many?\n3 + 4 = 7\n\n\\boxed{7}"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a base, a backbone that learns by adapters on it, and a study of two trials that have run."""
    folder = tmp_path_factory.mktemp("hub")
    tokenizer = build_tokenizer([TEXT] * 4)
    torch.set_num_threads(1)
    save(build_model(BACKBONES.load("tiny"), tokenizer, seed=0).bfloat16(), tokenizer, folder / "base")
    held = {"dtype": "bfloat16", "precision": "bfloat16", "lora": {"rank": 4, "alpha": 8}}
    (folder / "own").mkdir()
    written = {"source": "hub", "model": str(folder / "base"), "template": "bare", **held}
    (folder / "own" / "adapted.yaml").write_text(yaml.safe_dump(written))
    (folder / "adapted.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(OWN_FOLDER, str(folder / "own"))
        patched.setenv("OMP_NUM_THREADS", "1")
        session = Session(Home(folder / "home"))
        result = session.run(load_plan(folder / "adapted.yaml"), workers=1, task="watched:run_trial")
        assert result.exit_code == 0, session.shown.getvalue()
        yield folder


def trials(folder: Path) -> list[TrialFolder]:
    """Return the trials, the one that ended first before the other."""
    paths = sorted((folder / "home" / "trials").iterdir(), key=lambda path: (path / "metrics.json").stat().st_mtime)
    return [TrialFolder(path) for path in paths]


def watched(trial: TrialFolder) -> dict[str, Any]:
    return read_json(trial.path.parents[1] / "watched" / f"{trial.path.name}.json")


def test_each_trial_trains_in_one_process_and_is_asked_in_another_and_both_are_gone(ran: Path) -> None:
    workers, processes = set(), []
    for trial in trials(ran):
        told = re.findall(r"^--- process (\d+) of (\d+): \S+:(\w+)$", trial.log.read_text(), re.MULTILINE)
        assert [name for *_, name in told] == ["train_part", "generate_part"]
        workers |= {watched(trial)["worker"], *(int(parent) for _, parent, _ in told)}
        processes += [int(pid) for pid, *_ in told]
    assert len(workers) == 1, "one worker ran both"
    assert len({*processes, *workers}) == 5
    assert not {*processes} & {process.pid for process in psutil.Process().children(recursive=True)}


def test_the_worker_holds_no_model_and_no_trainer(ran: Path) -> None:
    """It has not even the libraries that make them: whatever a stage freezes or forgets is gone with its process."""
    assert [watched(trial)["libraries"] for trial in trials(ran)] == [[], []]


def test_two_trials_in_a_row_find_the_same_environment(ran: Path) -> None:
    first, second = (watched(trial)["environment"] for trial in trials(ran))
    assert first == second
    assert not LEFT.keys() & second.keys()


def test_the_adapter_is_kept_measured_and_named(ran: Path) -> None:
    base = fingerprint_weights(ran / "base")
    for trial in trials(ran):
        settings = json.loads((trial.model / "adapter_config.json").read_text())
        assert settings["base_model_name_or_path"] == str(ran / "base")
        fingerprints = read_json(trial.provenance)["fingerprints"]
        assert fingerprints["start_weights"] == base
        assert fingerprints["final_weights"] == fingerprint_adapter(trial.model)
        asked = read_json(trial.completions("coins_test") / "task.json")["identity"]["model"]
        assert (asked["weights"], asked["adapter"]) == (base, fingerprints["final_weights"])
        assert sum(path.stat().st_size for path in trial.model.glob("*.safetensors")) < 10**6


def test_verify_bundle_eval_view_and_gc_know_an_adapter(ran: Path, tmp_path: Path) -> None:
    study, trial = str(ran / "adapted.yaml"), trials(ran)[1]
    # The run was given no study file to keep, and no tokenizer of the policy's is here: said, and nothing differs.
    assert "DIFFERS" not in capo_bench(ran, "verify", study, expect=3)
    capo_bench(ran, "bundle", study, "--weights", "--out", str(tmp_path / "all.tar.gz"))
    capo_bench(ran, "view", trial.path.name, "--out", str(tmp_path / "page.html"))
    capo_bench(ran, "eval", trial.path.name, "--task", "coins_test", "--limit", "2", "--no-tracking")
    shutil.copytree(ran / "home", tmp_path / "home")
    capo_bench(tmp_path, "gc", "--yes", "--keep-models", "none")
    assert [folder.model.exists() for folder in trials(tmp_path)] == [False, False]
    assert (ran / "base" / "model.safetensors").exists()


@pytest.mark.nightly
def test_an_evaluation_on_two_gpus_is_asked_in_two_shares_that_become_one_folder(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OWN_FOLDER, str(ran / "own"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,3")
    done, folder = trials(ran)[1], TrialFolder(tmp_path / "trial")
    trial = next(trial for trial in load_plan(ran / "adapted.yaml").trials if trial.id == done.path.name)
    stages: list[dict[str, Any]] = []
    assert not ask(trial, str(done.model), folder, stages.append, lambda: True), "stopped before the first batch"
    assert ask(trial, str(done.model), folder, stages.append, lambda: False)
    assert [event["stage"] for event in stages] == ["generate", "generate"], "one of the processes tells"

    one, two = (path.completions("coins_test") for path in (done, folder))
    assert read_task(two).asked == read_task(one).asked
    assert read_task(two).identity == read_task(one).identity
    assert complete(two)
    assert [path.name for path in (folder.path / "completions").iterdir()] == ["coins_test"]
