"""What a plan says that a step needs: the division of rollouts, and bytes of a GPU, against real models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config
from trl.kernels import chunked_logprob
from trl.trainer import utils as trl_utils

from capo_bench.cli import main
from capo_bench.study.beside import Beside
from capo_bench.study.memory import (
    GIB,
    TILE,
    count_trained_parameters,
    describe_machine,
    describe_step,
    estimate_memory,
    find_micro_batch,
    layer_numbers,
)
from trainers.backbones import BACKBONES, BackboneConfig, LoraSettings, Planned
from trainers.backbones.trl_arguments import configure_adapters
from trainers.config import TrainConfig, TrialConfig

HUB = [name for name in BACKBONES.names() if BACKBONES.load(name).source == "hub"]
PAPER = TrainConfig(prompts_per_step=64, group_size=16, max_completion_tokens=1024)


def of_shape(name: str, planned: Planned, **changes: Any) -> Any:
    """A model of the real architecture without storage."""
    kind = LlamaConfig if name.startswith("llama") else Qwen3Config if name.startswith("qwen3") else Qwen2Config
    head = 64 if name == "llama3.2-1b" else 128
    config = kind(
        vocab_size=planned.vocabulary,
        hidden_size=planned.hidden,
        intermediate_size=planned.intermediate,
        num_hidden_layers=planned.layers,
        num_attention_heads=planned.query // head,
        num_key_value_heads=planned.key_value // head,
        head_dim=head,
        tie_word_embeddings=not name.startswith("qwen2.5-7b"),
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", HUB)
def test_the_shape_that_is_written_down_has_as_many_parameters_as_is_written_down(name):
    planned = BACKBONES.load(name).planned
    assert planned is not None
    model = of_shape(name, planned)
    assert sum(weight.numel() for weight in model.parameters()) == planned.parameters


def test_adapters_have_as_many_parameters_as_peft_makes_of_them():
    from peft import get_peft_model

    backbone = BACKBONES.load("qwen2.5-7b-lora")
    model = get_peft_model(of_shape("qwen2.5-7b", backbone.planned), configure_adapters(backbone))
    assert count_trained_parameters(backbone) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", HUB)
def test_every_backbone_is_pinned_and_fits_its_gpus_at_the_papers_size(name):
    backbone = BACKBONES.load(name)
    assert backbone.revision is not None
    assert len(backbone.revision) == 40
    assert 1024 % (find_micro_batch(backbone, PAPER) * backbone.processes) == 0
    assert estimate_memory(backbone, PAPER).fits


def small(**more: Any) -> BackboneConfig:
    shape = {"gpu_gib": 1, "prompt_tokens": 6, "parameters": 1000, "layers": 2, "hidden": 10, "intermediate": 20}
    planned = {**shape, "query": 10, "key_value": 5, "vocabulary": 50}
    return BackboneConfig.model_validate({"source": "hub", "model": "a/b", "planned": planned, **more})


def test_bytes_by_hand():
    train = TrainConfig(prompts_per_step=2, group_size=2, max_completion_tokens=4)
    held = estimate_memory(small(), train)
    # 4 rollouts of 6 + 4 tokens; a layer keeps 8·10 + 2·10 + 3·5 + 4·20 = 195 numbers a token, in float32. The head's
    # gradient are 50 · 10 numbers; the logits of 16 tokens fit into a tile, and 10 numbers go into each token's, twice.
    head = 4 * 50 * 10
    assert held.parts == {
        "weights": 4000, "gradients": 4000, "AdamW": 8000, "activations": 4 * 40 * 2 * 195,
        "logits": 4 * 16 * 50 + 8 * 16 * 10 + head,
    }  # fmt: skip
    shared = estimate_memory(small(processes=2, sharding="fsdp", gradient_checkpointing=True, micro_batch=1), train)
    assert shared.parts == {
        "weights": 2000, "gradients": 2000, "AdamW": 4000, "activations": 4 * 10 * (20 + 195),
        "logits": 4 * 4 * 50 + 8 * 4 * 10 + head,
    }  # fmt: skip
    zero2 = estimate_memory(small(processes=2, sharding="deepspeed"), train).parts
    assert (zero2["weights"], zero2["gradients"], zero2["AdamW"]) == (4000, 2000, 4000)
    zero3 = estimate_memory(small(processes=2, sharding="deepspeed", deepspeed={"stage": 3}), train).parts
    assert (zero3["weights"], zero3["gradients"], zero3["AdamW"]) == (2000, 2000, 4000)


def test_logits_are_held_in_the_tiles_that_trl_computes():
    assert TILE == (chunked_logprob.TOKEN_CHUNK_SIZE, trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE)
    backbone = BACKBONES.load("qwen2.5-1.5b")

    def logits(micro_batch: int, **changes: Any) -> float:
        changed = backbone.model_copy(update={"micro_batch": micro_batch, **changes})
        return estimate_memory(changed, PAPER).parts["logits"]

    # From 4 rollouts of 1,024 tokens on the tile is full: only what goes into it grows, 1,536 numbers a token.
    assert logits(8) - logits(4) == 8 * 4 * 1024 * 1536
    assert logits(4) == 2 * 4096 * 32768 + 8 * 4096 * 1536 + 4 * 151936 * 1536
    assert logits(4, lora=LoraSettings()) == 2 * 4096 * 32768 + 8 * 4096 * 1536  # the head is not trained


def test_an_engine_that_sleeps_gives_its_memory_to_the_update():
    train = TrainConfig(prompts_per_step=2, group_size=2, max_completion_tokens=4)
    alone = estimate_memory(small(), train)
    awake = estimate_memory(small(vllm={"memory": 0.5, "sleep": False}), train)
    asleep = estimate_memory(small(vllm={"memory": 0.5}), train)
    served = estimate_memory(small(vllm={"mode": "server"}), train)
    assert awake.peak == alone.peak + GIB / 2
    assert asleep.peak == 16_000 + GIB / 2
    assert served.peak == alone.peak
    assert not estimate_memory(small(vllm={"memory": 0.97}), train).fits
    assert "DOES NOT FIT: lower micro_batch" in str(estimate_memory(small(vllm={"memory": 0.97}), train))


def test_a_model_beside_the_policy_is_there_all_the_time():
    train = TrainConfig(prompts_per_step=2, group_size=2, max_completion_tokens=4)
    prm, engine = Beside("PRM", "a/b", None, 3000), Beside("critic", "a/c", None, None, share=0.25)
    for policy in (small(), small(vllm={"memory": 0.5}), small(processes=2, sharding="fsdp")):
        alone = estimate_memory(policy, train).peak
        assert estimate_memory(policy, train, [prm]).peak == alone + 3000  # shared out with nobody, asleep never
        assert estimate_memory(policy, train, [prm, engine]).peak == alone + 3000 + GIB / 4
    assert not estimate_memory(small(), train, [Beside("PRM", "a/b", None, GIB)]).fits
    assert str(estimate_memory(small(), train, [engine])).endswith(", critic 0.2")


def test_what_is_of_unknown_size_is_told_and_not_counted_as_nothing():
    train = TrainConfig(prompts_per_step=2, group_size=2, max_completion_tokens=4)
    held = estimate_memory(small(), train, [Beside("PRM", "a/b", None, None)])
    assert (held.peak, held.unknown) == (estimate_memory(small(), train).peak, ["PRM"])
    assert "(fits without the PRM)" in str(held)
    assert str(held).endswith(", PRM of unknown size, not counted")


def test_what_a_layer_keeps_is_about_what_autograd_keeps():
    """The count of numbers per layer, against what a real layer saves for its backward pass."""
    planned = small().planned.model_copy(
        update={"hidden": 256, "intermediate": 704, "query": 256, "key_value": 128, "layers": 4}
    )
    config = Qwen2Config(
        vocab_size=64, hidden_size=256, intermediate_size=704, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="sdpa",
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    weights = {weight.data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights and tensor.is_floating_point():
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    rollouts, tokens = 4, 96
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.zeros(rollouts, tokens, dtype=torch.long), logits_to_keep=1).logits.sum()
    saved = sum(kept.values()) / (4 * rollouts * tokens * 4)  # float32 numbers a token and layer
    assert 0.6 < layer_numbers(planned) / saved < 1.6


def test_the_division_is_written_as_it_is_worked_out():
    line = describe_step(BACKBONES.load("qwen2.5-7b"), PAPER)
    assert line == (
        "64 prompts × 16 generations = 1,024 rollouts a step = 8 processes × 8 micro-batches of 16"
    )  # fmt: skip
    own = TrainConfig(prompts_per_step=64, group_size=16, micro_batch=4)
    assert describe_step(BACKBONES.load("qwen2.5-7b"), own).endswith("× 32 micro-batches of 4")


def test_a_plan_tells_gpus_memory_and_the_server_to_start():
    lines = describe_machine(TrialConfig(backbone="qwen3-4b", cold_start=None, train=PAPER))
    assert lines[0].startswith("backbone qwen3-4b: 2 GPUs of 80 GiB and 1 GPU for the server; 64 prompts × 16")
    assert "of 80 GiB a GPU (fits): weights 7.5, gradients 7.5, AdamW 15.0" in lines[1]
    assert lines[2].endswith(
        "trl vllm-serve --model Qwen/Qwen3-4B-Instruct-2507 --revision cdbee75f17c01a7cc42f958dc650907174af0554 "
        "--host 127.0.0.1 --port 8000 --tensor-parallel-size 1 --gpu-memory-utilization 0.9"
    )
    assert describe_machine(TrialConfig(method="sft")) == []
    shown = CliRunner().invoke(main, ["plan", "voting"], env={"COLUMNS": "300"}).output
    assert "backbone tiny: processors; 6 prompts × 16 generations = 96 rollouts a step = 1 process" in shown


def test_a_plan_tells_of_each_backbone_what_its_trials_take_with_and_without_a_model_beside(tmp_path):
    save_file({"w": torch.zeros(2**26, dtype=torch.int8)}, tmp_path / "model.safetensors")
    shown = CliRunner().invoke(
        main, ["plan", "main", "--profile", "paper", "--set", f"prm.model={tmp_path}"], env={"COLUMNS": "300"}
    )
    lines = shown.output.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("backbone llama3.2-1b"))
    alone, beside, following = lines[first + 1 : first + 4]
    assert alone.startswith("  about 42 of 80 GiB a GPU (fits): weights 4.6")
    assert beside.partition(":")[2] == f"{alone.partition(':')[2]}, PRM 0.1"  # 2²⁶ numbers of two bytes
    assert following.startswith("backbone ")
