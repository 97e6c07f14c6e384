"""Adapters, precision and who samples: from a backbone's YAML to the trainer, and a policy trained so."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from evals.models.open import open_model
from evals.models.spec import read_spec
from trainers import capo, grpo_rule
from trainers.backbones import OWN_FOLDER, BackboneConfig, VllmRollouts
from trainers.backbones.trl_arguments import (
    ServerBusyError,
    build_server_command,
    configure_adapters,
    list_merged_weights,
    lock_server,
    select_sampling,
)
from trainers.checkpoints import find_newest
from trainers.policy import build_settings
from trainers.run import TrainRun

WEIGHTS = "model.safetensors"
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
        ({"source": "embedded", "model": None, "lora": {}}, "section lora with source 'embedded'"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, told):
    with pytest.raises(ValidationError, match=told):
        backbone(**wrong)


def test_trl_is_told_who_samples_and_how_the_difference_is_corrected(make_run: Make):
    run, _ = make_run()
    assert not build_settings(run, backbone()).use_vllm
    colocated = build_settings(run, backbone(vllm={"memory": 0.4, "sleep": False}))
    assert (colocated.use_vllm, colocated.vllm_mode, colocated.vllm_gpu_memory_utilization) == (True, "colocate", 0.4)
    assert not colocated.vllm_enable_sleep_mode
    assert colocated.vllm_importance_sampling_mode == "token_truncate"
    assert colocated.vllm_importance_sampling_clip_max == 2.0
    served = build_settings(run, backbone(vllm={"mode": "server", "port": 8123}))
    assert (served.vllm_mode, served.vllm_server_base_url) == ("server", "http://127.0.0.1:8123")


def test_the_servers_command_names_model_and_revision():
    served = backbone(revision="abc", vllm={"mode": "server", "memory": 0.8, "tensor_parallel": 2})
    assert build_server_command(served) == (
        "trl vllm-serve --model some/model --revision abc --host 127.0.0.1 --port 8000 --tensor-parallel-size 2 "
        "--gpu-memory-utilization 0.8"
    )
    assert build_server_command(backbone()) == build_server_command(backbone(vllm={})) == ""
    assert select_sampling(backbone()) == {"use_vllm": False}


def test_one_trial_at_a_time_samples_from_a_server():
    server = VllmRollouts(mode="server", port=64123)
    with lock_server(server):
        with (
            pytest.raises(ServerBusyError, match=r"127.0.0.1:64123 samples for another trial.*--workers 1"),
            lock_server(server),
        ):
            pass
        with lock_server(server.model_copy(update={"port": 64124})), lock_server(VllmRollouts()), lock_server(None):
            pass
    with lock_server(server):
        pass


def test_precision_is_that_of_the_passes_and_a_backbone_may_set_the_micro_batch(make_run: Make):
    run, _ = make_run()
    assert build_settings(run, backbone(precision="bfloat16")).bf16
    assert not build_settings(run, backbone()).bf16
    assert build_settings(run, backbone(micro_batch=2)).per_device_train_batch_size == 2
    assert build_settings(run, backbone(micro_batch=2)).gradient_accumulation_steps == 4
    assert build_settings(replace(run, micro_batch=1), backbone(micro_batch=2)).per_device_train_batch_size == 1


@pytest.fixture
def adapted(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backbone of the user's own, in a folder: bfloat16 weights, and adapters that learn."""
    torch.set_num_threads(1)
    lora = {"rank": 4, "alpha": 8}
    written = {"source": "hub", "model": start, "dtype": "bfloat16", "precision": "bfloat16", "lora": lora}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "adapted.yaml").write_text(yaml.safe_dump(written))
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path / "own"))
    return "adapted"


class Kept(capo.CapoTrainer):
    """CAPO's trainer, whose trained model can be looked at."""

    last: Kept

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        Kept.last = self


def logits_of(model: Any, tokenizer: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(**tokenizer("Ann has 3 coins. Ann finds 4.", return_tensors="pt")).logits


def test_what_is_kept_and_measured_is_the_adapter_that_was_trained(
    adapted: str, make_run: Make, monkeypatch: pytest.MonkeyPatch
):
    """At a learning rate whose updates bfloat16 weights would lose."""
    monkeypatch.setattr(capo, "CapoTrainer", Kept)
    # Steps differ where no answer is right yet, so that there is a gradient.
    changes = {"critic": {"name": "exact"}, "credit": {"critiques": 1, "vote": "union"}}
    train = {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40, "learning_rate": 1e-6}
    run, records = make_run(backbone=adapted, train=train, **changes)
    assert capo.train(run)
    assert len(records) == 2
    assert records[0]["policy_parameters"] == sum(w.numel() for w in load_file(Path(run.start, WEIGHTS)).values())
    assert [path.name for path in run.model.glob("*.safetensors")] == ["adapter_model.safetensors"]
    settings = json.loads((run.model / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == (run.start, None)

    measured = open_model(read_spec(model=str(run.model), dtype="bfloat16"))
    trained = logits_of(Kept.last.accelerator.unwrap_model(Kept.last.model), measured.tokenizer)
    assert torch.equal(logits_of(measured.model, measured.tokenizer), trained)
    base = AutoModelForCausalLM.from_pretrained(run.start, dtype=torch.bfloat16)
    names = dict(base.named_parameters())
    learned = {name: delta for name, delta in deltas(measured.model) if delta.abs().max() > 0}
    assert learned
    # Merged and saved in bfloat16, nearly all of it would have been lost.
    lost = sum(((names[name] + delta.bfloat16()) == names[name]).sum() for name, delta in learned.items())
    assert lost / sum(delta.numel() for delta in learned.values()) > 0.9


def deltas(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            yield f"{name.removeprefix('base_model.model.')}.weight", module.get_delta_weight("default").detach()


def test_adapters_go_on_from_a_checkpoint_to_the_bit(adapted: str, make_run: Make):
    whole, records = make_run(name="whole", backbone=adapted)
    grpo_rule.train(whole)
    cut, first = make_run(name="cut", backbone=adapted, stop=lambda: True)
    assert not grpo_rule.train(cut)
    point = find_newest(cut.out)
    assert point is not None
    more, rest = make_run(name="cut", backbone=adapted)
    assert grpo_rule.train(replace(more, resume=str(point.path), checkpoint_seconds=math.inf))
    assert [*map(len, (first, rest))] == [1, 1]
    weights = "adapter_model.safetensors"
    assert (more.model / weights).read_bytes() == (whole.model / weights).read_bytes()
    assert rest[0]["loss"] == records[1]["loss"]


def test_an_adapter_may_be_the_start_and_is_trained_on(adapted: str, make_run: Make):
    changes = {"critic": {"name": "exact"}, "credit": {"critiques": 1, "vote": "union"}}
    first, records = make_run(name="first", backbone=adapted, **changes)
    assert capo.train(first)
    second, more = make_run(name="second", backbone=adapted, **changes)
    assert capo.train(replace(second, start=str(first.model)))
    before, after = (load_file(run.model / "adapter_model.safetensors") for run in (first, second))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    # What both rest on is the base, and its size is the policy's.
    settings = json.loads((second.model / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == first.start
    assert more[0]["policy_parameters"] == records[0]["policy_parameters"]


@pytest.fixture
def peft_model(start: str) -> Any:
    """A bfloat16 base with adapters that have learned something, one module trained whole."""
    from peft import get_peft_model

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", modules_to_save=["embed_tokens"])
    config.init_lora_weights = False  # drawn at random
    return get_peft_model(base, config)


def test_an_engine_gets_the_weights_that_trl_would_send_and_the_base_does_not_drift(peft_model: Any):
    from trl.generation.vllm_generation import VLLMGeneration

    before = {name: weight.clone() for name, weight in peft_model.state_dict().items()}
    for _ in range(200):
        sent = dict(list_merged_weights(peft_model))
    assert all(torch.equal(weight, before[name]) for name, weight in peft_model.state_dict().items())

    generation = object.__new__(VLLMGeneration)  # without an engine: only what it would be sent
    generation.model, generation.accelerator = peft_model, None
    generation._dist = SimpleNamespace(is_fsdp=False, gather_params=lambda weights: nullcontext())
    theirs = {name: weight.clone() for name, weight in generation._iter_named_params()}
    assert [*sent] == [*theirs]
    for name, weight in sent.items():
        torch.testing.assert_close(weight, theirs[name], rtol=2**-7, atol=1e-6)
    drifted = [name for name, weight in peft_model.state_dict().items() if not torch.equal(weight, before[name])]
    assert drifted, "TRL's own way would do: ours is not needed any more"


def test_what_an_engine_gets_is_the_exact_sum_rounded_once(peft_model: Any):
    sent = dict(list_merged_weights(peft_model))
    base = {name.replace(".base_layer", ""): weight for name, weight in peft_model.state_dict().items()}
    for name, delta in deltas(peft_model):
        exact = base[f"base_model.model.{name}"].double() + delta.double()
        assert torch.equal(sent[name], exact.float().bfloat16())


def test_adapters_are_as_said():
    config = configure_adapters(backbone(lora={"rank": 8, "alpha": 16, "dropout": 0.1, "targets": ["q_proj"]}))
    assert (config.r, config.lora_alpha, config.lora_dropout, config.target_modules) == (8, 16, 0.1, {"q_proj"})
    assert configure_adapters(backbone(lora={})).target_modules == "all-linear"
    assert configure_adapters(backbone()) is None
