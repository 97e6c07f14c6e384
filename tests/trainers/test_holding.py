"""Adapters, precision and who samples: from a backbone's YAML to the trainer, and a policy trained so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainers import grpo_rule
from trainers.backbones import BACKBONES, OWN_FOLDER, BackboneConfig, VllmRollouts
from trainers.checkpoints import newest
from trainers.holding import ServerBusyError, adapters, sampling, server_alone, server_command
from trainers.methods import TrainRun
from trainers.policy import settings

HUB = {"source": "hub", "model": "some/model"}
Make = Callable[..., tuple[TrainRun, list[dict[str, Any]]]]


def backbone(**more: Any) -> BackboneConfig:
    return BackboneConfig.model_validate({**HUB, **more})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"dtype": "bfloat16"}, "dtype bfloat16 with precision float32"),
        ({"dtype": "bfloat16", "precision": "bfloat16"}, "lose updates .* set dtype to float32 .* or add lora"),
        ({"lora": {}, "processes": 2, "sharding": "fsdp"}, "section lora with sharding 'fsdp'"),
        ({"vllm": {"tensor_parallel": 3}, "processes": 4}, "set tensor_parallel to a divisor of 4"),
        ({"vllm": {"memory": 1.0}}, "vllm.memory"),
        ({"vllm": {"mode": "beside"}}, "vllm.mode"),
        ({"lora": {"rank": 0}}, "lora.rank"),
        ({"source": "embedded", "model": None, "vllm": {}}, "section vllm with source 'embedded'"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, told):
    with pytest.raises(ValidationError, match=told):
        backbone(**wrong)


def test_trl_is_told_who_samples_and_how_the_difference_is_corrected(make_run: Make):
    run, _ = make_run()
    assert not settings(run, backbone()).use_vllm
    colocated = settings(run, backbone(vllm={"memory": 0.4, "sleep": False}))
    assert (colocated.use_vllm, colocated.vllm_mode, colocated.vllm_gpu_memory_utilization) == (True, "colocate", 0.4)
    assert not colocated.vllm_enable_sleep_mode
    assert colocated.vllm_importance_sampling_mode == "token_truncate"
    assert colocated.vllm_importance_sampling_clip_max == 2.0
    served = settings(run, backbone(vllm={"mode": "server", "port": 8123}))
    assert (served.vllm_mode, served.vllm_server_base_url) == ("server", "http://127.0.0.1:8123")


def test_the_servers_command_names_model_and_revision():
    served = backbone(revision="abc", vllm={"mode": "server", "memory": 0.8, "tensor_parallel": 2})
    assert server_command(served) == (
        "trl vllm-serve --model some/model --revision abc --host 127.0.0.1 --port 8000 --tensor-parallel-size 2 "
        "--gpu-memory-utilization 0.8"
    )
    assert server_command(backbone()) == server_command(backbone(vllm={})) == ""
    assert sampling(backbone()) == {"use_vllm": False}


def test_one_trial_at_a_time_samples_from_a_server():
    server = VllmRollouts(mode="server", port=64123)
    with server_alone(server):
        with (
            pytest.raises(ServerBusyError, match=r"127.0.0.1:64123 samples for another trial.*--workers 1"),
            server_alone(server),
        ):
            pass
        with server_alone(server.model_copy(update={"port": 64124})), server_alone(VllmRollouts()), server_alone(None):
            pass
    with server_alone(server):
        pass


def test_precision_is_that_of_the_passes_and_a_backbone_may_set_the_micro_batch(make_run: Make):
    run, _ = make_run()
    assert settings(run, backbone(precision="bfloat16")).bf16
    assert not settings(run, backbone()).bf16
    assert settings(run, backbone(micro_batch=2)).per_device_train_batch_size == 2
    assert settings(run, backbone(micro_batch=2)).gradient_accumulation_steps == 4
    assert settings(replace(run, micro_batch=1), backbone(micro_batch=2)).per_device_train_batch_size == 1


@pytest.fixture
def with_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    tiny = BACKBONES.load("tiny").model_dump(mode="json", exclude_none=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "adapted.yaml").write_text(yaml.safe_dump({**tiny, "lora": {"rank": 4, "alpha": 8}}))
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path / "own"))


@pytest.mark.usefixtures("with_adapters")
def test_a_policy_trained_by_adapters_is_one_model_that_learned_nothing_else(make_run: Make):
    run, records = make_run(backbone="adapted")
    assert grpo_rule.train(run)
    assert len(records) == 2
    assert [path.name for path in run.model.glob("*.safetensors")] == ["model.safetensors"]
    before, after = load_file(Path(run.start) / "model.safetensors"), load_file(run.model / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    linear = {name for name in before if name.endswith("proj.weight")}
    assert changed
    assert changed <= linear  # embeddings, norms and the head stay
    for name in changed:
        assert torch.linalg.matrix_rank(after[name] - before[name], atol=1e-6) <= 4
    AutoModelForCausalLM.from_pretrained(run.model)
    assert AutoTokenizer.from_pretrained(run.model)("12")["input_ids"]


@pytest.mark.usefixtures("with_adapters")
def test_adapters_go_on_from_a_checkpoint_to_the_bit(make_run: Make):
    whole, records = make_run(name="whole", backbone="adapted")
    grpo_rule.train(whole)
    cut, first = make_run(name="cut", backbone="adapted", stop=lambda: True)
    assert not grpo_rule.train(cut)
    point = newest(cut.out)
    assert point is not None
    more, rest = make_run(name="cut", backbone="adapted")
    assert grpo_rule.train(replace(more, resume=str(point.path), checkpoint_seconds=math.inf))
    assert [*map(len, (first, rest))] == [1, 1]
    assert (more.model / "model.safetensors").read_bytes() == (whole.model / "model.safetensors").read_bytes()
    assert rest[0]["loss"] == records[1]["loss"]


def test_adapters_are_as_said():
    config = adapters(backbone(lora={"rank": 8, "alpha": 16, "dropout": 0.1, "targets": ["q_proj"]}))
    assert (config.r, config.lora_alpha, config.lora_dropout, config.target_modules) == (8, 16, 0.1, {"q_proj"})
    assert adapters(backbone(lora={})).target_modules == "all-linear"
    assert adapters(backbone()) is None
