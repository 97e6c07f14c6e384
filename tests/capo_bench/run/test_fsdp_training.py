"""Two processes that share out the parameters of a model by FSDP, on CPUs, through the project's own launcher.

Accelerate shards on accelerators alone. For this test one thing is patched in the processes that train: a gloo
group counts as one of GPUs. All else is real: the launcher, the sharded steps, checkpoints, the whole model at the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tinymodel import save_model

from capo_bench.run import launch, stages
from capo_bench.run.executor import Attempt
from capo_bench.run.training import read_steps
from capo_bench.store.home import Home
from capo_bench.study import identity
from capo_bench.study.identity import add_seed, hash_plain, identify_trial, make_trial_id
from capo_bench.study.plan import Trial
from trainers.backbones import OWN_FOLDER
from trainers.config import TrialConfig

PATCH = """
import os

if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    from accelerate import state

    begin = state.PartialState.__init__

    def begin_as_gpus(self, *arguments, **options):
        begin(self, *arguments, **options)
        if self.distributed_type == state.DistributedType.MULTI_CPU:
            self._shared_state["distributed_type"] = state.DistributedType.MULTI_GPU

    state.PartialState.__init__ = begin_as_gpus
"""
PAIR = "source: hub\nmodel: {model}\ntemplate: bare\nprocesses: 2\n"
SMALL: dict[str, Any] = {
    "cold_start": None,
    "train": {"steps": 6, "prompts_per_step": 1, "group_size": 4, "max_completion_tokens": 12, "learning_rate": 0.001},
    "credit": {"critiques": 2},
    "critic": {"name": "noisy"},
    "evaluation": {"tasks": ["coins_test"], "problems": 4, "max_completion_tokens": 12},
}
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def sharding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    (tmp_path / "own").mkdir()
    pair = PAIR.format(model=save_model(tmp_path / "model", width=32))
    (tmp_path / "own" / "pair.yaml").write_text(pair)
    (tmp_path / "own" / "sharded.yaml").write_text(f"{pair}sharding: fsdp\nfsdp: {{layers: [GraniteDecoderLayer]}}\n")
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(PATCH)
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path / "own"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(tmp_path / "patch")  # which the processes that train get as well
    monkeypatch.setattr(launch, "check_machine", lambda name, backbone: True)
    identity._identify_backbone.cache_clear()


def make_trial(backbone: str) -> Trial:
    config = TrialConfig.model_validate({**SMALL, "backbone": backbone})
    parts = identify_trial(config)
    return Trial(make_trial_id(hash_plain(parts), 0), "v", 0, config, add_seed(parts, 0))


def run(trial: Trial, home: Home, steps: int | None = None) -> list[dict[str, Any]]:
    """Run a trial, to its end or until so many steps are told; return its steps."""
    told: list[Any] = []

    def emit(event: dict[str, Any]) -> None:
        told.extend([event] if event["kind"] == "step" else [])

    stages.run_trial(trial, home, emit, lambda: steps is not None and len(told) >= steps, Attempt(checkpoint_seconds=0))
    return read_steps(home.trial(trial.id))


@pytest.mark.nightly
def test_shards_train_as_whole_copies_do_are_stopped_and_go_on(tmp_path: Path) -> None:
    home, whole, sharded = Home(tmp_path / "home"), make_trial("pair"), make_trial("sharded")
    by_copies = run(whole, home)
    stopped = run(sharded, home, steps=1)
    assert 1 <= len(stopped) < 6
    by_shards = run(sharded, home)
    assert by_shards[: len(stopped)] == stopped
    for one, other in zip(by_copies, by_shards, strict=True):
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
    copied, shared = (load_file(home.trial(trial.id).model / "model.safetensors") for trial in (whole, sharded))
    head = shared.pop("lm_head.weight")  # tied, and written once more
    assert torch.equal(head, shared["model.embed_tokens.weight"])
    assert copied.keys() == shared.keys()
    assert all(torch.allclose(weight, shared[name], atol=1e-4) for name, weight in copied.items())
    assert json.loads(home.trial(sharded.id).metrics.read_text())["metrics"]
