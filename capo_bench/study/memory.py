"""Estimate the memory that a training step needs on each GPU, from the `planned` figures of a backbone.

It is an estimate for choosing settings, not a measurement. Bytes per GPU, with P parameters of which T are trained, S
processes that share them (1 without sharding), and t tokens per micro-batch (its rollouts × (prompt + completion)):

    weights      P · bytes(dtype) / S          gradients  T · 4 / S          AdamW  T · 8 / S
    activations  with checkpointing, 2 · t · (layers · hidden + one layer);  without, 2 · t · layers · one layer
    logits       2 · min(c, 4,096) · min(vocabulary, 32,768) + 8 · c · hidden + 4 · vocabulary · hidden

One layer keeps about 8 · hidden + 2 · query + 3 · key_value + 4 · intermediate numbers per token for the backward pass.
c is the number of completion tokens of the micro-batch. TRL computes their logits in tiles; it holds the gradient of
the head (if the head is trained) and the gradient of the head's input in float32. The factor 2 stands for the bytes of
`precision`. Micro-batches are sorted by length, so the estimate is for the one with the longest rollouts. A colocated
vLLM engine also takes its share of the GPU, unless it sleeps during updates and frees it. A critic or process reward
model beside the policy always takes memory: its full weights on each GPU, or its engine's share. Its activations are
not counted, because no backward pass is pending while it reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from capo_bench.study.beside import BYTES, Beside, list_models_beside
from capo_bench.study.gpu_time import count_server_gpus
from trainers.backbones import BACKBONES, BackboneConfig, Planned
from trainers.backbones.trl_arguments import build_server_command
from trainers.config import TrainConfig, TrialConfig
from trainers.methods import METHODS

GIB = 2**30
_SPARE = 0.95
"""Usable share of a GPU's memory: the driver and fragmentation take the rest."""
TILE = (4096, 32768)
"""Tokens and vocabulary entries of the logits that TRL 1.16 holds at a time (`trl.kernels.chunked_logprob`)."""


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU, by purpose.

    Attributes:
        parts: Bytes by name, of the parts that are held at the same time.
        engine: Bytes of a colocated engine while it samples.
        sleeps: Whether the engine frees its memory during updates.
        gpu: Bytes of the GPU that the backbone was planned for.
        beside: Bytes of each model beside the policy, by role, which are always held; None if unknown.
    """

    parts: dict[str, float]
    engine: float
    sleeps: bool
    gpu: float
    beside: dict[str, float | None] = field(default_factory=dict)

    @property
    def unknown(self) -> list[str]:
        """Roles of models whose size is unknown and not counted."""
        return [role for role, size in self.beside.items() if size is None]

    @property
    def peak(self) -> float:
        """Largest number of bytes held at a time, during updates or, with an engine, during sampling.

        Models of unknown size are not included.
        """
        states = self.parts["weights"] + self.parts["gradients"] + self.parts["AdamW"]
        updating = sum(self.parts.values()) + (0.0 if self.sleeps else self.engine)
        return max(updating, states + self.engine) + sum(size or 0.0 for size in self.beside.values())

    @property
    def fits(self) -> bool:
        """Whether the GPU has enough memory."""
        return self.peak <= _SPARE * self.gpu

    def __str__(self) -> str:
        """Return the estimate as one line of text."""
        parts = [f"{name} {size / GIB:.1f}" for name, size in self.parts.items()]
        if self.engine:
            parts.append(f"vLLM {self.engine / GIB:.1f}{' (asleep during updates)' if self.sleeps else ''}")
        parts += [f"{role} {size / GIB:.1f}" for role, size in self.beside.items() if size is not None]
        parts += [f"{role} of unknown size, not counted" for role in self.unknown]
        fits = f"fits without the {' and the '.join(self.unknown)}" if self.unknown else "fits"
        verdict = fits if self.fits else "DOES NOT FIT: lower micro_batch, shard, or use LoRA"
        return f"about {self.peak / GIB:.0f} of {self.gpu / GIB:.0f} GiB a GPU ({verdict}): {', '.join(parts)}"


def find_micro_batch(backbone: BackboneConfig, train: TrainConfig) -> int:
    """Return the micro-batch: the rollouts that a process updates on at a time."""
    whole = max(train.prompts_per_step * train.group_size // backbone.processes, 1)
    return train.micro_batch or backbone.micro_batch or whole


def describe_step(backbone: BackboneConfig, train: TrainConfig) -> str:
    """Return the division of a step's rollouts among processes and micro-batches as one line of text."""
    rollouts, micro_batch = train.prompts_per_step * train.group_size, find_micro_batch(backbone, train)
    return (
        f"{train.prompts_per_step} prompts × {train.group_size} generations = {rollouts:,} rollouts a step = "
        f"{_format_count(backbone.processes, 'process')} × {rollouts // (backbone.processes * micro_batch):,} "
        f"micro-batches of {micro_batch}"
    )


def estimate_memory(backbone: BackboneConfig, train: TrainConfig, beside: Iterable[Beside] = ()) -> Memory | None:
    """Return the memory of each GPU, including models `beside` the policy; None for a backbone of unknown shape."""
    planned = backbone.planned
    if planned is None:
        return None
    weights, gradients, optimizer = _count_shares(backbone)
    trained = count_trained_parameters(backbone)
    rollouts = find_micro_batch(backbone, train)
    tokens = rollouts * (planned.prompt_tokens + train.max_completion_tokens)
    layer = layer_numbers(planned)
    kept = planned.layers * planned.hidden + layer if backbone.gradient_checkpointing else planned.layers * layer
    parts = {
        "weights": planned.parameters * BYTES[backbone.dtype] / weights + (4 * trained if backbone.lora else 0),
        "gradients": 4 * trained / gradients,
        "AdamW": 8 * trained / optimizer,
        "activations": BYTES[backbone.precision] * tokens * kept,
        "logits": _estimate_logits(backbone, planned, rollouts * train.max_completion_tokens),
    }
    vllm, gpu = backbone.vllm, planned.gpu_gib * GIB
    colocated = vllm is not None and vllm.mode == "colocate"
    return Memory(
        parts=parts,
        engine=vllm.memory * gpu if vllm is not None and colocated else 0.0,
        sleeps=vllm is not None and colocated and vllm.sleep,
        gpu=gpu,
        beside={each.role: each.held(gpu) for each in beside},
    )


def _estimate_logits(backbone: BackboneConfig, planned: Planned, tokens: int) -> int:
    """Return the bytes of the log-probabilities of so many tokens; activations of the layers are not included."""
    tile = BYTES[backbone.precision] * min(tokens, TILE[0]) * min(planned.vocabulary, TILE[1])
    head = 0 if backbone.lora else 4 * planned.vocabulary * planned.hidden
    return tile + 8 * tokens * planned.hidden + head


def estimate_trial_memory(config: TrialConfig) -> Memory | None:
    """Return the memory of each GPU while a trial trains; None for a backbone of unknown shape."""
    return estimate_memory(BACKBONES.load(config.backbone), config.train, list_models_beside(config))


def layer_numbers(planned: Planned) -> int:
    """Return the approximate count of numbers per token that one layer keeps for its backward pass."""
    return 8 * planned.hidden + 2 * planned.query + 3 * planned.key_value + 4 * planned.intermediate


def count_trained_parameters(backbone: BackboneConfig) -> int:
    """Return the number of trained parameters of a backbone with known shape: all, or those of adapters.

    Every linear layer except the head has adapters.
    """
    planned = backbone.planned
    assert planned is not None
    if backbone.lora is None:
        return planned.parameters
    hidden, inner = planned.hidden, planned.intermediate
    attention = 2 * (hidden + planned.query) + 2 * (hidden + planned.key_value)
    return planned.layers * backbone.lora.rank * (attention + 3 * (hidden + inner))


def describe_machine(config: TrialConfig) -> list[str]:
    """Return lines of text on the machine that training a trial needs; empty for a method without training."""
    if METHODS.get(config.method).train is None:
        return []
    backbone = BACKBONES.load(config.backbone)
    where = f"backbone {config.backbone}: {_describe_machine(backbone)}; {describe_step(backbone, config.train)}"
    needs, server = estimate_trial_memory(config), build_server_command(backbone)
    return [
        where,
        *([f"  {needs}"] if needs is not None else []),
        *([f"  rollouts come from a server that is to be started beforehand: {server}"] if server else []),
    ]


def _describe_machine(backbone: BackboneConfig) -> str:
    if not backbone.gpus:
        return "processors"
    each = f" of {backbone.planned.gpu_gib} GiB" if backbone.planned else ""
    served = count_server_gpus(backbone)
    more = f" and {_format_count(served, 'GPU')} for the server" if served else ""
    return f"{_format_count(backbone.gpus, 'GPU')}{each}{more}"


def _count_shares(backbone: BackboneConfig) -> tuple[int, int, int]:
    """Return the number of processes that share weights, gradients and optimizer state."""
    processes = backbone.processes
    if backbone.sharding == "fsdp":
        return processes, processes, processes
    if backbone.sharding == "deepspeed":
        stage = backbone.deepspeed.stage if backbone.deepspeed else 2
        return (processes if stage == 3 else 1), (processes if stage >= 2 else 1), processes
    return 1, 1, 1


def _format_count(count: int, thing: str) -> str:
    plural = {"process": "processes", "GPU": "GPUs"}[thing]
    return f"{count} {thing if count == 1 else plural}"
