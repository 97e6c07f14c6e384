"""The training methods by name. Light: what trains is imported when training starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.registry import Registry

if TYPE_CHECKING:
    from trainers.config import TrialConfig
    from trainers.credit.rewards import StepCharge
    from trainers.prm.returns import ScoreRule

SECTIONS = ("train", "credit", "critic", "prm")
"""Sections of `TrialConfig` that only some methods use (`Method.uses`)."""

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainRun:
    """What a method is given.

    Attributes:
        config: The trial's settings.
        seed: Seed of everything drawn during training.
        start: Folder, or repository id, of the model and tokenizer that training starts from.
        out: Folder for checkpoints while training.
        model: Folder that receives the trained model and tokenizer.
        rollouts: Folder that receives the rollouts, with what judged their steps.
        record: Called once an optimizer step with that step's record (plain values), in every process that trains.
        resume: Checkpoint of an earlier try to go on from.
        critic: Folder of the embedded critic's model, where the settings ask for it.
        prm: Folder of the embedded process reward model, where the settings ask for it.
        critique_cache: Folder in which critiques are kept; None keeps none.
        stop: Asked after every step; true means: save a checkpoint and return.
        checkpoint_seconds: At least so many seconds lie between two checkpoints; 0: one after every step; infinite:
            only at a stop.
        micro_batch: Rollouts of a micro-batch in place of `train.micro_batch`.
    """

    config: TrialConfig
    seed: int
    start: str
    out: Path
    model: Path
    rollouts: Path
    record: Emit
    resume: str | None = None
    critic: Path | None = None
    prm: Path | None = None
    critique_cache: Path | None = None
    stop: Callable[[], bool] = lambda: False
    checkpoint_seconds: float = math.inf
    micro_batch: int | None = None


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        name: As studies name it.
        source: Where the method comes from.
        uses: Sections of `TrialConfig` that decide its result beside method, backbone, benchmark, cold start and
            evaluation; the others stay out of a trial's identity.
        ignores: Dotted keys of these sections that decide nothing all the same, and stay out of it too.
        train: ``"module:function"`` that trains, imported when training starts. The function takes a `TrainRun` and
            returns True when training is complete, False when `stop` ended it early. None: the start is the result.
        charge: ``"module:function"`` of the `StepCharge` of a method that charges steps as a critic's vote says; also
            how a replay of its rollouts charges them.
        step_rewards: ``"module:function"`` of a method that trains on the scores of a process reward model: from
            `PrmConfig` to the `StepRewards` that are also worked out again from its rollouts. The module is light.
    """

    name: str
    source: str
    uses: frozenset[str] = field(default_factory=frozenset)
    ignores: frozenset[str] = field(default_factory=frozenset)
    train: str | None = None
    charge: str = "trainers.credit.rewards:own_step"
    step_rewards: str | None = None

    def heeds(self, key: str) -> bool:
        """Whether a dotted key of the settings may decide anything under this method."""
        section = key.partition(".")[0]
        return section not in SECTIONS or (section in self.uses and key not in self.ignores)


def step_charge(method: str) -> StepCharge:
    """Return which steps pay, by a method's name, for those that are voted wrong."""
    found: StepCharge = _named(METHODS.get(method).charge)
    return found


def score_rule(config: TrialConfig) -> ScoreRule:
    """Return how a trial makes advantages of the scores of steps.

    Raises:
        ValueError: Its method does not say.
    """
    from trainers.prm.returns import ScoreRule

    named = METHODS.get(config.method).step_rewards
    if named is None:
        raise ValueError(f"method {config.method!r} has no step_rewards; name them in its description (Method)")
    return ScoreRule(_named(named)(config.prm), config.prm.w_whole, config.train.group_size)


def _named(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(import_module(module), function)


SFT = Method("sft", source="paper, baselines: supervised fine-tuning, the cold start of the others, as it is")
GRPO_RULE = Method(
    "grpo_rule",
    source="paper, baselines: GRPO (arXiv 2402.03300) with the rule verifier's outcome as the only reward",
    uses=frozenset({"train"}),
    train="trainers.grpo_rule:train",
)
DR_GRPO = Method(
    "dr_grpo",
    source="arXiv 2503.20783: GRPO without division by length and spread",
    uses=frozenset({"train"}),
    train="trainers.dr_grpo:train",
)
DAPO = Method(
    "dapo",
    source="arXiv 2503.14476, without dynamic sampling: token-level loss, higher clip, soft overlong punishment",
    uses=frozenset({"train"}),
    train="trainers.dapo:train",
)
RLOO = Method(
    "rloo",
    source="arXiv 2402.14740: REINFORCE, the others of the group as baseline",
    uses=frozenset({"train"}),
    train="trainers.rloo:train",
)
GRPO_GENORM = Method(
    "grpo_genorm",
    source="paper, baselines: GRPO with an LLM's voted judgment of the whole answer as the only reward",
    uses=frozenset({"train", "credit", "critic"}),
    train="trainers.grpo_genorm:train",
)
CAPO = Method(
    "capo",
    source="arXiv 2508.02298",
    uses=frozenset({"train", "credit", "critic"}),
    train="trainers.capo:train",
)
FIRST_ERROR = Method(
    "first_error",
    source="CAPO's critiques and votes, charged from the first wrong step on",
    uses=frozenset({"train", "credit", "critic"}),
    train="trainers.first_error:train",
    charge="trainers.credit.first_error:from_first_error",
)

PRM_SUM = Method(
    "prm_sum",
    source="arXiv 2402.03300, section 4.1.3: GRPO with process supervision, scores of steps added up, and the outcome",
    uses=frozenset({"train", "prm"}),
    ignores=frozenset({"prm.temperature"}),
    train="trainers.prm_sum:train",
    step_rewards="trainers.prm_sum:step_rewards",
)
PRM_MIN = Method(
    "prm_min",
    source="arXiv 2504.15275 (PURE): the worst of a process reward model's scores, and the outcome",
    uses=frozenset({"train", "prm"}),
    train="trainers.prm_min:train",
    step_rewards="trainers.prm_min:step_rewards",
)

METHODS: Registry[Method] = Registry(
    "method",
    "capo_bench.methods",
    {
        "sft": "trainers.methods:SFT",
        "grpo_rule": "trainers.methods:GRPO_RULE",
        "dr_grpo": "trainers.methods:DR_GRPO",
        "dapo": "trainers.methods:DAPO",
        "rloo": "trainers.methods:RLOO",
        "grpo_genorm": "trainers.methods:GRPO_GENORM",
        "capo": "trainers.methods:CAPO",
        "first_error": "trainers.methods:FIRST_ERROR",
        "prm_sum": "trainers.methods:PRM_SUM",
        "prm_min": "trainers.methods:PRM_MIN",
    },
)
