"""Estimate GPU hours, critic tokens and money of trials with hub models, computed from stated throughputs.

Nothing here is measured. The estimate is the number of floating-point operations, divided by the share of a GPU's peak
that each kind of work is assumed to reach. With N parameters of the policy, N_c of the critic, R rollouts per step with
t tokens each, p tokens per prompt, k critiques with c tokens each, s steps per rollout, m continuations per state,

    sampling     2·N·(R·t) written, 2·N·(prompts·p) read: rollouts of a problem share its prompt under vLLM
    updates      6·N·R·(t + p) each; 2·N more with gradient checkpointing; 2·N more per batch if its tokens are
                 scored first, which is the case for tokens from vLLM and for tokens that are updated on repeatedly
    critic       2·N_c·R·(p + t + instructions) read once per rollout, 2·N_c·R·k·c written
    evaluation   2·N·answers·t written, 2·N·answers·p read
    continuations, for Monte Carlo values: 2·N·R·s·m·t/2 written, 2·N·R·s·(p + t/2) read; no state is shared

The parts are added up; overlap is not subtracted. A study can state its own figures in the section `machine`, and times
of finished trials replace the computed ones (`estimate`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field

from evals.settings import Positive, Strict
from evals.tasks import SIZES
from evals.tasks.identity import find_task_draws
from trainers.backbones import BACKBONES, BackboneConfig
from trainers.config import TrialConfig
from trainers.critics.endpoint import EndpointParams
from trainers.critics.language import LanguageParams
from trainers.methods import METHODS

PROBLEMS = 256
"""Assumed number of problems of a task that is used completely and whose size is unknown."""
INSTRUCTIONS = 400
"""Assumed tokens of the critic's instructions, in addition to problem and solution."""

Share = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(gt=0)]


class Machine(Strict):
    """Assumptions of a plan about GPUs and texts. They do not change any result.

    Attributes:
        gpus: GPUs of the machine, including the critic's; None: as many as the largest trial and the critic need.
        critic_gpus: How many of these GPUs only a critic behind an endpoint uses; 0: it shares the policy's GPUs, or is
            paid by the token.
        tflops: Peak of a GPU for dense bfloat16, in 10¹² operations per second (H100 989, A100 312).
        update: Share of the peak that updates reach, counting real tokens without padding.
        read: Share of the peak that reading prompts reaches.
        write: Share of the peak that sampling reaches with many texts in parallel; memory bandwidth limits it.
        prompt_tokens: Tokens of a typical prompt.
        rollout_tokens: Tokens of a typical rollout; None: half of `train.max_completion_tokens`.
        rollout_steps: Steps of a typical rollout; Monte Carlo values continue the state before each of them.
        critique_tokens: Tokens of a typical critique; None: half of the critic's `max_tokens`.
        gpu_hour: Price of a GPU per hour, in any currency; None: money is not computed.
    """

    gpus: Positive | None = None
    critic_gpus: Annotated[int, Field(ge=0)] = 1
    tflops: Amount = 989.0
    update: Share = 0.3
    read: Share = 0.4
    write: Share = 0.1
    prompt_tokens: Positive = 200
    rollout_tokens: Positive | None = None
    rollout_steps: Positive = 8
    critique_tokens: Positive | None = None
    gpu_hour: Amount | None = None

    def seconds(self, parameters: float, read: float, written: float, gpus: int) -> float:
        """Return the seconds that a model takes to read and write these tokens on so many GPUs."""
        return 2 * parameters * (read / self.read + written / self.write) / (self.tflops * 1e12 * gpus)


MACHINE = Machine()
"""Assumptions for studies without a section `machine`."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one step.

    Attributes:
        sampled: Tokens of rollouts.
        prompts: Tokens of prompts that the update processes, once per rollout.
        prefilled: Tokens of prompts that sampling reads.
        read: Tokens that the critic or process reward model reads.
        written: Tokens that the critic writes.
        continued_read: Tokens of partial solutions that the policy reads to continue them for Monte Carlo values.
        continued_written: Tokens of these continuations.
    """

    sampled: float
    prompts: float
    prefilled: float
    read: float
    written: float
    continued_read: float
    continued_written: float


@dataclass(frozen=True)
class GpuTime:
    """Seconds of one or several trials, by kind of work; updates include scoring for importance sampling."""

    sampling: float
    updates: float
    critic: float
    evaluation: float
    continuations: float = 0.0

    @property
    def total(self) -> float:
        """Total seconds if the parts run one after another."""
        return self.sampling + self.updates + self.critic + self.evaluation + self.continuations


@dataclass(frozen=True)
class GpuCosts:
    """Remaining costs of a plan's trials on GPUs, including the critic's GPUs.

    Attributes:
        machine: The assumptions.
        gpus: Number of GPUs.
        parts: Seconds by kind of work (`GpuTime`), all trials one after another.
        wall_seconds: Seconds from start to end.
        gpu_hours: Total hours of all GPUs.
        critic_read: Tokens that critics read.
        critic_written: Tokens that critics write.
        money: Total price; None if no price is given.
    """

    machine: Machine
    gpus: int
    parts: Mapping[str, float]
    wall_seconds: float
    gpu_hours: float
    critic_read: float
    critic_written: float
    money: float | None


def count_step_tokens(config: TrialConfig, machine: Machine) -> Tokens:
    """Return the tokens of one training step."""
    train, judged = config.train, judge_size(config) != 0
    rollouts = train.prompts_per_step * train.group_size
    length = machine.rollout_tokens or train.max_completion_tokens / 2
    prompts = rollouts * machine.prompt_tokens
    samples = config.samples_per_state
    states = rollouts * machine.rollout_steps if samples else 0
    return Tokens(
        sampled=rollouts * length,
        prompts=prompts,
        prefilled=prompts / train.group_size if BACKBONES.load(config.backbone).vllm else prompts,
        read=rollouts * (machine.prompt_tokens + length + INSTRUCTIONS) if judged else 0.0,
        written=rollouts * _count_written(config, machine) if judged else 0.0,
        # On average a state is in the middle of a solution.
        continued_read=states * (machine.prompt_tokens + length / 2),
        continued_written=states * samples * length / 2,
    )


def estimate_trial_time(config: TrialConfig, machine: Machine, steps: int) -> GpuTime | None:
    """Return the estimated seconds of a trial with `steps` training steps; None if the size of a model is unknown.

    With 0 steps the trial is only evaluated.
    """
    backbone, judge = BACKBONES.load(config.backbone), judge_size(config)
    if backbone.planned is None or judge is None:
        return None
    size, tokens = backbone.planned.parameters, count_step_tokens(config, machine)
    count = config.train.updates_per_batch
    passes = (6 + 2 * backbone.gradient_checkpointing) * count + 2 * (backbone.vllm is not None or count > 1)
    updates = passes * size * (tokens.sampled + tokens.prompts)
    sampling, judging = (
        own or backbone.processes for own in (count_server_gpus(backbone), count_critic_gpus(config, machine))
    )
    return GpuTime(
        sampling=steps * machine.seconds(size, tokens.prefilled, tokens.sampled, sampling),
        updates=steps * updates / (machine.tflops * 1e12 * machine.update * backbone.processes),
        critic=steps * machine.seconds(judge, tokens.read, tokens.written, judging),
        evaluation=_estimate_evaluation(config, machine, size),
        continuations=steps
        * machine.seconds(size, tokens.continued_read, tokens.continued_written, backbone.processes),
    )


def count_trial_gpus(config: TrialConfig) -> int:
    """Return the GPUs that a running trial uses: those of training and of a rollout server."""
    backbone = BACKBONES.load(config.backbone)
    return backbone.gpus + count_server_gpus(backbone)


def count_server_gpus(backbone: BackboneConfig) -> int:
    """Return the GPUs of a rollout server; 0 without one."""
    return backbone.vllm.gpus if backbone.vllm and backbone.vllm.mode == "server" else 0


def count_critic_gpus(config: TrialConfig, machine: Machine) -> int:
    """Return the GPUs that only the critic uses: 0 unless it is behind an endpoint or served."""
    if "critic" not in METHODS.get(config.method).uses or not isinstance(config.critic, EndpointParams):
        return 0
    return machine.critic_gpus if config.critic.serve is None else config.critic.serve.gpus


def judge_size(config: TrialConfig) -> float | None:
    """Return the parameters of the critic or process reward model; 0 without one or for a checker, None if unknown."""
    uses = METHODS.get(config.method).uses
    if "prm" in uses:
        return config.prm.parameters
    if "critic" not in uses or not isinstance(config.critic, LanguageParams):
        return 0.0
    planned = BACKBONES.load(config.backbone).planned
    return planned.parameters if planned and config.critic.asks_policy else config.critic.parameters


def _count_written(config: TrialConfig, machine: Machine) -> float:
    """Return the tokens that a critic writes about a rollout; a process reward model writes none."""
    if not isinstance(config.critic, LanguageParams) or "critic" not in METHODS.get(config.method).uses:
        return 0.0
    return config.credit.critiques * (machine.critique_tokens or config.critic.max_tokens / 2)


def _estimate_evaluation(config: TrialConfig, machine: Machine, size: float) -> float:
    """Return the seconds of generating the answers on one GPU; an answer is assumed to be as long as a rollout."""
    evaluation = config.evaluation
    answers = 0.0
    for task in evaluation.tasks:
        each = find_task_draws(task).samples if evaluation.samples is None else evaluation.samples
        problems = min(evaluation.problems or SIZES.get(task, PROBLEMS), SIZES.get(task, math.inf))
        answers += problems * (each + evaluation.greedy)
    length = machine.rollout_tokens or config.train.max_completion_tokens / 2
    return machine.seconds(size, answers * machine.prompt_tokens, answers * length, 1)


@dataclass(frozen=True)
class PendingTrial:
    """A trial that has not run yet: its estimated seconds, and its training steps (0 if it is only evaluated)."""

    config: TrialConfig
    seconds: float
    steps: int


def estimate_gpu_costs(machine: Machine, trials: Iterable[PendingTrial]) -> GpuCosts | None:
    """Return the GPU costs of trials; None if no trial needs a GPU."""
    left = [trial for trial in trials if count_trial_gpus(trial.config)]
    if not left:
        return None
    need = max(count_trial_gpus(trial.config) for trial in left)
    critic = max(count_critic_gpus(trial.config, machine) for trial in left)
    gpus = machine.gpus or need + critic
    times = [time for trial in left if (time := estimate_trial_time(trial.config, machine, trial.steps)) is not None]
    parts = {kind.name: sum(getattr(time, kind.name) for time in times) for kind in fields(GpuTime)}
    held = sum(trial.seconds * count_trial_gpus(trial.config) for trial in left)
    # Parallel trials share the critic's GPUs, which can then limit the speed.
    wall = max(held / max(gpus - critic, need), *(trial.seconds for trial in left), parts["critic"] if critic else 0)
    hours = (held + wall * critic) / 3600
    training = [(trial.config, trial.steps, count_step_tokens(trial.config, machine)) for trial in left]
    priced = [_compute_price(config, steps * tokens.read, steps * tokens.written) for config, steps, tokens in training]
    rented = None if machine.gpu_hour is None else hours * machine.gpu_hour
    prices = [price for price in (rented, *priced) if price is not None]
    return GpuCosts(
        machine=machine,
        gpus=gpus,
        parts=parts,
        wall_seconds=wall,
        gpu_hours=hours,
        critic_read=sum(steps * tokens.read for _, steps, tokens in training),
        critic_written=sum(steps * tokens.written for _, steps, tokens in training),
        money=sum(prices) if prices else None,
    )


def _compute_price(config: TrialConfig, read: float, written: float) -> float | None:
    """Return the price of an endpoint's tokens; None if no price is given."""
    price = config.critic.price if isinstance(config.critic, EndpointParams) else None
    return None if price is None else (read * price.prompt + written * price.output) / 1e6
