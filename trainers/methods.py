"""The training methods by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.registry import Registry

if TYPE_CHECKING:
    from trainers.config import TrialConfig

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainRun:
    """What a method is given.

    Attributes:
        config: The trial's settings.
        seed: Seed of everything drawn during training.
        start: Folder of the model and tokenizer that training starts from.
        out: Folder for checkpoints while training; the final model goes to ``out / "model"``.
        record: Called once an optimizer step with that step's record (plain values).
        stop: Asked after every step; true means: save a checkpoint and return.
    """

    config: TrialConfig
    seed: int
    start: Path
    out: Path
    record: Emit
    stop: Callable[[], bool]


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        name: As studies name it.
        source: Where the method comes from.
        uses: Sections of `TrialConfig` that decide its result beside method, backbone, benchmark, cold start and
            evaluation; the others stay out of a trial's identity.
        train: ``"module:function"`` that trains; imported when training starts. The function takes a `TrainRun` and
            returns True when training is complete, False when `stop` ended it early. None: the start is the result.
    """

    name: str
    source: str
    uses: frozenset[str] = field(default_factory=frozenset)
    train: str | None = None


METHODS: Registry[Method] = Registry(
    "method",
    "capo_bench.methods",
    {
        "sft": "trainers.sft:SFT",
        "grpo_rule": "trainers.grpo_rule:GRPO_RULE",
        "capo": "trainers.capo:CAPO",
    },
)
