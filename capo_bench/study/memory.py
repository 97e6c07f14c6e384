"""What a step of training needs of each GPU: rollouts, micro-batches, memory. Arithmetic on a backbone's `planned`.

An estimate to choose settings by, not a measurement. Bytes a GPU holds, with P parameters of which T are trained, S the
processes that share them out (1 without sharding), and t tokens in a micro-batch (its rollouts × (prompt +
completion)):

    weights      P · bytes(dtype) / S          gradients  T · 4 / S          AdamW  T · 8 / S
    activations  with checkpointing, 2 · t · (layers · hidden + one layer);  without, 2 · t · layers · one layer
    logits       2 · min(c, 4,096) · min(vocabulary, 32,768) + 8 · c · hidden + 4 · vocabulary · hidden

where one layer keeps about 8 · hidden + 2 · query + 3 · key_value + 4 · intermediate numbers a token for the backward
pass, and c are the tokens of the micro-batch's completions: TRL works out their logits tile by tile, and holds the
head's gradient, where the head is trained, and that of what goes into it, in float32. "2 ·" stands for the bytes of
`precision`. Micro-batches are sorted by length, so this is the one of the longest rollouts. A colocated
engine of vLLM takes its share of the GPU too; one that sleeps while the policy is updated gives it back by then. A
critic or process reward model beside the policy is there all the time: its weights, whole on each GPU, or its engine's
share. What it takes while it reads is left out: it reads while nothing is kept for a backward pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from capo_bench.study.beside import BYTES, Beside, models_beside
from capo_bench.study.gpu_time import server_gpus
from trainers.backbones import BACKBONES, BackboneConfig, Planned
from trainers.backbones.trl_arguments import server_command
from trainers.config import TrainConfig, TrialConfig
from trainers.methods import METHODS

GIB = 2**30
_SPARE = 0.95
"""Share of a GPU's memory that can be filled: the rest is the driver's, and lost between blocks."""
TILE = (4096, 32768)
"""Tokens and words of the vocabulary of which TRL 1.16 holds logits at a time (`trl.kernels.chunked_logprob`)."""


@dataclass(frozen=True)
class StepPlan:
    """How the rollouts of a step are divided: `micro_batch` are those that a process updates on at a time."""

    prompts: int
    generations: int
    processes: int
    micro_batch: int

    @property
    def batch(self) -> int:
        """Rollouts a step."""
        return self.prompts * self.generations

    @property
    def accumulated(self) -> int:
        """Micro-batches whose gradients are added up in each process."""
        return self.batch // (self.processes * self.micro_batch)

    def __str__(self) -> str:
        """Return the arithmetic as a line."""
        return (
            f"{self.prompts} prompts × {self.generations} generations = {self.batch:,} rollouts a step = "
            f"{_counted(self.processes, 'process')} × {self.accumulated:,} micro-batches of {self.micro_batch}"
        )


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU, by what they are for.

    Attributes:
        parts: Name to bytes; what is there at the same time.
        engine: Bytes of a colocated engine while it samples.
        sleeps: Whether it gives them back while the policy is updated.
        gpu: Bytes of the GPU that it was planned for.
        beside: Role of a model beside the policy to its bytes, which are there all the time; None: nobody knows them.
    """

    parts: dict[str, float]
    engine: float
    sleeps: bool
    gpu: float
    beside: dict[str, float | None] = field(default_factory=dict)

    @property
    def unknown(self) -> list[str]:
        """What is there too, nobody knows how large, and is not counted."""
        return [role for role, size in self.beside.items() if size is None]

    @property
    def peak(self) -> float:
        """The most that is held at a time, of what is known: while updating, or, with an engine, while sampling."""
        states = self.parts["weights"] + self.parts["gradients"] + self.parts["AdamW"]
        updating = sum(self.parts.values()) + (0.0 if self.sleeps else self.engine)
        return max(updating, states + self.engine) + sum(size or 0.0 for size in self.beside.values())

    @property
    def fits(self) -> bool:
        """Whether the GPU holds it."""
        return self.peak <= _SPARE * self.gpu

    def __str__(self) -> str:
        """Return it as a line."""
        parts = [f"{name} {size / GIB:.1f}" for name, size in self.parts.items()]
        if self.engine:
            parts.append(f"vLLM {self.engine / GIB:.1f}{' (asleep during updates)' if self.sleeps else ''}")
        parts += [f"{role} {size / GIB:.1f}" for role, size in self.beside.items() if size is not None]
        parts += [f"{role} of unknown size, not counted" for role in self.unknown]
        fits = f"fits without the {' and the '.join(self.unknown)}" if self.unknown else "fits"
        verdict = fits if self.fits else "DOES NOT FIT: lower micro_batch, shard, or use LoRA"
        return f"about {self.peak / GIB:.0f} of {self.gpu / GIB:.0f} GiB a GPU ({verdict}): {', '.join(parts)}"


def step_plan(backbone: BackboneConfig, train: TrainConfig) -> StepPlan:
    """Return how a step's rollouts are divided."""
    rollouts = train.prompts_per_step * train.group_size
    whole = max(rollouts // backbone.processes, 1)
    micro_batch = train.micro_batch or backbone.micro_batch or whole
    return StepPlan(train.prompts_per_step, train.group_size, backbone.processes, micro_batch)


def memory(backbone: BackboneConfig, train: TrainConfig, beside: Iterable[Beside] = ()) -> Memory | None:
    """Return what each GPU holds, models `beside` the policy too; None for a backbone that does not say its shape."""
    planned = backbone.planned
    if planned is None:
        return None
    weights, gradients, optimizer = _shares(backbone)
    trained = adapter_parameters(backbone)
    rollouts = step_plan(backbone, train).micro_batch
    tokens = rollouts * (planned.prompt_tokens + train.max_completion_tokens)
    layer = layer_numbers(planned)
    kept = planned.layers * planned.hidden + layer if backbone.gradient_checkpointing else planned.layers * layer
    parts = {
        "weights": planned.parameters * BYTES[backbone.dtype] / weights + (4 * trained if backbone.lora else 0),
        "gradients": 4 * trained / gradients,
        "AdamW": 8 * trained / optimizer,
        "activations": BYTES[backbone.precision] * tokens * kept,
        "logits": _logits(backbone, planned, rollouts * train.max_completion_tokens),
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


def _logits(backbone: BackboneConfig, planned: Planned, tokens: int) -> int:
    """Return the bytes that the log-probabilities of so many tokens take, beside what layers keep."""
    tile = BYTES[backbone.precision] * min(tokens, TILE[0]) * min(planned.vocabulary, TILE[1])
    head = 0 if backbone.lora else 4 * planned.vocabulary * planned.hidden
    return tile + 8 * tokens * planned.hidden + head


def trial_memory(config: TrialConfig) -> Memory | None:
    """Return what each GPU holds while a trial trains; None for a backbone that does not say its shape."""
    return memory(BACKBONES.load(config.backbone), config.train, models_beside(config))


def layer_numbers(planned: Planned) -> int:
    """Return about how many numbers a token one layer keeps for its backward pass."""
    return 8 * planned.hidden + 2 * planned.query + 3 * planned.key_value + 4 * planned.intermediate


def adapter_parameters(backbone: BackboneConfig) -> int:
    """Return how many parameters of a backbone that says its shape are trained: all, or those of adapters.

    Adapters are on every linear layer but the head.

    Raises:
        ValueError: The backbone does not say its shape.
    """
    planned = backbone.planned
    assert planned is not None
    if backbone.lora is None:
        return planned.parameters
    hidden, inner = planned.hidden, planned.intermediate
    attention = 2 * (hidden + planned.query) + 2 * (hidden + planned.key_value)
    return planned.layers * backbone.lora.rank * (attention + 3 * (hidden + inner))


def machine_lines(config: TrialConfig) -> list[str]:
    """Return what training a trial takes of a machine, in lines; none for a method that does not train."""
    if METHODS.get(config.method).train is None:
        return []
    backbone = BACKBONES.load(config.backbone)
    where = f"backbone {config.backbone}: {_where(backbone)}; {step_plan(backbone, config.train)}"
    needs, server = trial_memory(config), server_command(backbone)
    return [
        where,
        *([f"  {needs}"] if needs is not None else []),
        *([f"  rollouts come from a server that is to be started beforehand: {server}"] if server else []),
    ]


def _where(backbone: BackboneConfig) -> str:
    if not backbone.gpus:
        return "processors"
    each = f" of {backbone.planned.gpu_gib} GiB" if backbone.planned else ""
    served = server_gpus(backbone)
    more = f" and {_counted(served, 'GPU')} for the server" if served else ""
    return f"{_counted(backbone.gpus, 'GPU')}{each}{more}"


def _shares(backbone: BackboneConfig) -> tuple[int, int, int]:
    """Return among how many processes weights, gradients and the optimizer's state are shared out."""
    processes = backbone.processes
    if backbone.sharding == "fsdp":
        return processes, processes, processes
    if backbone.sharding == "deepspeed":
        stage = backbone.deepspeed.stage if backbone.deepspeed else 2
        return (processes if stage == 3 else 1), (processes if stage >= 2 else 1), processes
    return 1, 1, 1


def _counted(count: int, thing: str) -> str:
    plural = {"process": "processes", "GPU": "GPUs"}[thing]
    return f"{count} {thing if count == 1 else plural}"
