"""What trials of models from a hub take of GPUs: hours, critic tokens and money, by arithmetic on stated throughputs.

Nothing here was measured: it is the work in floating-point operations, divided by the share of a GPU's peak that each
kind of work is taken to reach. With N parameters of the policy, N_c of the critic, R rollouts a step of t tokens, p
tokens of a prompt, k critiques of c tokens,

    sampling     2·N·(R·t) written, 2·N·(prompts·p) read: rollouts of a problem share its prompt under vLLM
    updates      6·N·R·(t + p) each, 2·N more where activations are computed again; 2·N more a batch where its tokens
                 are scored before: those that vLLM sampled, and those that are updated on more than once
    critic       2·N_c·R·(p + t + instructions) read once a rollout, 2·N_c·R·k·c written
    evaluation   2·N·answers·t written, 2·N·answers·p read

added up: what overlaps is not taken off. A study states its own figures in the section `machine`, and finished trials
take the place of the arithmetic (`estimate`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field

from evals.settings import Positive, Strict
from evals.tasks import SIZES
from evals.tasks.identity import task_draws
from trainers.backbones import BACKBONES, BackboneConfig
from trainers.config import TrialConfig
from trainers.critics.endpoint import EndpointParams
from trainers.critics.language import LanguageParams
from trainers.methods import METHODS

PROBLEMS = 256
"""Of a task that is taken whole, and whose size nobody wrote down."""
INSTRUCTIONS = 400
"""Tokens of what a critic is told beside problem and solution."""

Share = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(gt=0)]


class Machine(Strict):
    """What a plan takes for granted of GPUs and texts. It decides no result.

    Attributes:
        gpus: GPUs of the machine, the critic's among them; None: as many as the largest trial and the critic need.
        critic_gpus: Those of them that a critic behind an endpoint has to itself; 0: it shares the policy's, or is paid
            by its tokens.
        tflops: Peak of a GPU for dense bfloat16, in 10¹² operations a second (H100 989, A100 312).
        update: Share of the peak that updates reach, counted in real tokens, without padding.
        read: Share that reading prompts reaches.
        write: Share that sampling reaches, many texts at a time; the memory's bandwidth bounds it.
        prompt_tokens: Tokens of a usual problem, as it is put.
        rollout_tokens: Tokens of a usual rollout; None: half of `train.max_completion_tokens`.
        critique_tokens: Tokens of a usual critique; None: half of the critic's `max_tokens`.
        gpu_hour: Price of a GPU for an hour, in any currency; None counts no money.
    """

    gpus: Positive | None = None
    critic_gpus: Annotated[int, Field(ge=0)] = 1
    tflops: Amount = 989.0
    update: Share = 0.3
    read: Share = 0.4
    write: Share = 0.1
    prompt_tokens: Positive = 200
    rollout_tokens: Positive | None = None
    critique_tokens: Positive | None = None
    gpu_hour: Amount | None = None

    def seconds(self, parameters: float, read: float, written: float, gpus: int) -> float:
        """Return how long a model takes to read and write so many tokens on so many GPUs."""
        return 2 * parameters * (read / self.read + written / self.write) / (self.tflops * 1e12 * gpus)


MACHINE = Machine()
"""What is taken for granted where a study says nothing."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one step: of rollouts, and of their prompts as the update passes them.

    `prefilled` are those of prompts as sampling reads them; `read` and `written` those of the critic or process reward
    model.
    """

    sampled: float
    prompts: float
    prefilled: float
    read: float
    written: float


@dataclass(frozen=True)
class GpuTime:
    """Seconds of one trial by what they are for, or of several added up; updates score for importance sampling too."""

    sampling: float
    updates: float
    critic: float
    evaluation: float

    @property
    def total(self) -> float:
        """All of them, one after another."""
        return self.sampling + self.updates + self.critic + self.evaluation


@dataclass(frozen=True)
class GpuCosts:
    """What is left of a plan's trials on GPUs, those of the critic among them.

    `parts` are seconds by kind of work (`GpuTime`), all trials one after another; `wall_seconds` last from begin to
    end. `critic_read` and `critic_written` are tokens. `money` is None where no price is given.
    """

    machine: Machine
    gpus: int
    parts: Mapping[str, float]
    wall_seconds: float
    gpu_hours: float
    critic_read: float
    critic_written: float
    money: float | None


def step_tokens(config: TrialConfig, machine: Machine) -> Tokens:
    """Return the tokens of a step of training."""
    train, judged = config.train, judge_size(config) != 0
    rollouts = train.prompts_per_step * train.group_size
    length = machine.rollout_tokens or train.max_completion_tokens / 2
    prompts = rollouts * machine.prompt_tokens
    return Tokens(
        sampled=rollouts * length,
        prompts=prompts,
        prefilled=prompts / train.group_size if BACKBONES.load(config.backbone).vllm else prompts,
        read=rollouts * (machine.prompt_tokens + length + INSTRUCTIONS) if judged else 0.0,
        written=rollouts * _written(config, machine) if judged else 0.0,
    )


def trial_time(config: TrialConfig, machine: Machine, steps: int) -> GpuTime | None:
    """Return what a trial takes of so many steps (0: it is only evaluated); None where a model's size is not known."""
    backbone, judge = BACKBONES.load(config.backbone), judge_size(config)
    if backbone.planned is None or judge is None:
        return None
    size, tokens = backbone.planned.parameters, step_tokens(config, machine)
    count = config.train.updates_per_batch
    passes = (6 + 2 * backbone.gradient_checkpointing) * count + 2 * (backbone.vllm is not None or count > 1)
    updates = passes * size * (tokens.sampled + tokens.prompts)
    sampling, judging = (own or backbone.processes for own in (server_gpus(backbone), critic_gpus(config, machine)))
    return GpuTime(
        sampling=steps * machine.seconds(size, tokens.prefilled, tokens.sampled, sampling),
        updates=steps * updates / (machine.tflops * 1e12 * machine.update * backbone.processes),
        critic=steps * machine.seconds(judge, tokens.read, tokens.written, judging),
        evaluation=_evaluation_seconds(config, machine, size),
    )


def trial_gpus(config: TrialConfig) -> int:
    """Return the GPUs that a trial holds while it runs: those that train, and those of a server of rollouts."""
    backbone = BACKBONES.load(config.backbone)
    return backbone.gpus + server_gpus(backbone)


def server_gpus(backbone: BackboneConfig) -> int:
    """Return the GPUs of a server of rollouts; 0 without one."""
    return backbone.vllm.gpus if backbone.vllm and backbone.vllm.mode == "server" else 0


def critic_gpus(config: TrialConfig, machine: Machine) -> int:
    """Return the GPUs that the critic has to itself: none unless it is behind an endpoint or served."""
    if "critic" not in METHODS.get(config.method).uses or not isinstance(config.critic, EndpointParams):
        return 0
    return machine.critic_gpus if config.critic.serve is None else config.critic.serve.gpus


def judge_size(config: TrialConfig) -> float | None:
    """Return the size of the critic or process reward model: 0 for none and for a checker, None: not known."""
    uses = METHODS.get(config.method).uses
    if "prm" in uses:
        return config.prm.parameters
    if "critic" not in uses or not isinstance(config.critic, LanguageParams):
        return 0.0
    planned = BACKBONES.load(config.backbone).planned
    return planned.parameters if planned and config.critic.asks_policy else config.critic.parameters


def _written(config: TrialConfig, machine: Machine) -> float:
    """Return the tokens that a critic writes about a rollout; a process reward model writes none."""
    if not isinstance(config.critic, LanguageParams) or "critic" not in METHODS.get(config.method).uses:
        return 0.0
    return config.credit.critiques * (machine.critique_tokens or config.critic.max_tokens / 2)


def _evaluation_seconds(config: TrialConfig, machine: Machine, size: float) -> float:
    """Return the time of the answers on one GPU; an answer is as long as a rollout."""
    evaluation = config.evaluation
    answers = 0.0
    for task in evaluation.tasks:
        each = task_draws(task).samples if evaluation.samples is None else evaluation.samples
        problems = min(evaluation.problems or SIZES.get(task, PROBLEMS), SIZES.get(task, math.inf))
        answers += problems * (each + evaluation.greedy)
    length = machine.rollout_tokens or config.train.max_completion_tokens / 2
    return machine.seconds(size, answers * machine.prompt_tokens, answers * length, 1)


@dataclass(frozen=True)
class PendingTrial:
    """A trial that is yet to run: what it is taken to last, and its steps of training, 0 where it is only evaluated."""

    config: TrialConfig
    seconds: float
    steps: int


def gpu_costs(machine: Machine, trials: Iterable[PendingTrial]) -> GpuCosts | None:
    """Return what trials take of GPUs; None where none of them needs one."""
    left = [trial for trial in trials if trial_gpus(trial.config)]
    if not left:
        return None
    need = max(trial_gpus(trial.config) for trial in left)
    critic = max(critic_gpus(trial.config, machine) for trial in left)
    gpus = machine.gpus or need + critic
    times = [time for trial in left if (time := trial_time(trial.config, machine, trial.steps)) is not None]
    parts = {kind.name: sum(getattr(time, kind.name) for time in times) for kind in fields(GpuTime)}
    held = sum(trial.seconds * trial_gpus(trial.config) for trial in left)
    # Trials side by side share the critic's GPUs, which then are what bounds them.
    wall = max(held / max(gpus - critic, need), *(trial.seconds for trial in left), parts["critic"] if critic else 0)
    hours = (held + wall * critic) / 3600
    asked = [(trial.config, trial.steps, step_tokens(trial.config, machine)) for trial in left]
    priced = [_price(config, steps * tokens.read, steps * tokens.written) for config, steps, tokens in asked]
    rented = None if machine.gpu_hour is None else hours * machine.gpu_hour
    prices = [price for price in (rented, *priced) if price is not None]
    return GpuCosts(
        machine=machine,
        gpus=gpus,
        parts=parts,
        wall_seconds=wall,
        gpu_hours=hours,
        critic_read=sum(steps * tokens.read for _, steps, tokens in asked),
        critic_written=sum(steps * tokens.written for _, steps, tokens in asked),
        money=sum(prices) if prices else None,
    )


def _price(config: TrialConfig, read: float, written: float) -> float | None:
    """Return what an endpoint asks for tokens; None where its price is not given."""
    price = config.critic.price if isinstance(config.critic, EndpointParams) else None
    return None if price is None else (read * price.prompt + written * price.output) / 1e6
