"""Define the settings of one trial. This module imports pydantic only, so that validation does not need torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from evals.benchmarks import BENCHMARKS
from evals.config import EvaluationConfig
from evals.settings import Positive, Strict
from evals.tasks.row_settings import BenchmarkName, ProblemRows
from evals.verify.answers import DEFAULT_STYLE, AnswerStyle
from trainers.backbones import BACKBONES
from trainers.budget import BudgetConfig
from trainers.credit.normalization import NORMALIZATIONS
from trainers.credit.segment import SEGMENTERS
from trainers.credit.terms import Terms
from trainers.credit.votes import VOTES
from trainers.critics import CRITICS, build_critic_params
from trainers.critics.base import CriticParams
from trainers.methods import METHODS
from trainers.prm.config import PrmConfig
from trainers.teaching import SftConfig, SupervisedConfig

Rate = Annotated[float, Field(gt=0)]
DrawnTask = Literal["coins", "forks", "repairs"]
DRAWN_TASKS = get_args(DrawnTask)
"""Benchmarks for which the harness draws demonstrations."""

if TYPE_CHECKING:
    AnyCritic = CriticParams
else:
    AnyCritic = build_critic_params()


def make_default_critic() -> CriticParams:
    """Return the default critic of a trial: the exact one."""
    return CRITICS.get("exact")(name="exact")


class ColdStartConfig(SupervisedConfig):
    """Cold start of the embedded backbone: supervised training on solutions with misconceptions and random slips.

    After a wrong step, later steps build on its result. With `misconceptions: []` and a larger `slip`, errors are
    random only. Then the most likely answer after the cold start is right, and reinforcement learning can only sharpen
    the distribution.

    Attributes:
        task: The benchmark whose problems are solved. Pupils of forks and repairs hold one misconception of their own:
            that the smaller choice will do (forks), or that the written text needs no second look (repairs).
        belief: Probability that a pupil follows a misconception where it applies.
    """

    task: DrawnTask = "coins"
    belief: Annotated[float, Field(ge=0, le=1)] = 0.8

    @model_validator(mode="after")
    def _rules_of_its_own(self) -> ColdStartConfig:
        own = [name for name in ("misconceptions", "operations") if name in self.model_fields_set]
        if self.task != "coins" and any(getattr(self, name) != type(self).model_fields[name].default for name in own):
            raise ValueError(
                f"{' and '.join(own)} with task {self.task!r}, whose problems and pupils are its own; "
                "remove it, and set belief and slip"
            )
        return self

    @model_validator(mode="after")
    def _something_to_unlearn_and_to_explore(self) -> ColdStartConfig:
        if self.misconceptions and self.belief in {0, 1}:
            why = "no pupil follows them" if self.belief == 0 else "no rollout would ever leave them, to be rewarded"
            raise ValueError(
                f"misconceptions with belief {self.belief:g}: {why}; "
                "set belief between 0 and 1, or misconceptions to []"
            )
        return self


def _tag_cold_start(value: object) -> str:
    named = "demonstrations" in value if isinstance(value, dict) else isinstance(value, SftConfig)
    return "named" if named else "drawn"


ColdStart = Annotated[
    Annotated[ColdStartConfig, Tag("drawn")] | Annotated[SftConfig, Tag("named")], Discriminator(_tag_cold_start)
]
"""Supervised training before reinforcement learning: on drawn demonstrations of coins, or on named demonstrations."""


class ClipConfig(Strict):
    """How far the probability ratio may differ from 1 before a token no longer contributes to the update.

    Attributes:
        lower: ε_low: the ratio is clipped at 1 − lower.
        upper: ε_high: the ratio is clipped at 1 + upper. None: the method's default, which is `lower` except for DAPO.
    """

    lower: Annotated[float, Field(gt=0, lt=1)] = 0.2
    upper: Rate | None = None


class TrainConfig(Strict):
    """Reinforcement learning: each step samples a batch of rollouts and updates on it.

    A batch has `prompts_per_step` groups of `group_size` rollouts.

    Attributes:
        updates_per_batch: Number of updates per step, each on the whole batch.
        ratio: The ratio that is clipped: that of a token's probabilities, or the geometric mean over a rollout (GSPO).
    """

    steps: Positive = 50
    budget: BudgetConfig | None = None
    prompts_per_step: Positive = 8
    group_size: Annotated[int, Field(ge=2)] = 16
    learning_rate: Rate = 1e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    max_completion_tokens: Positive = 96
    answers: AnswerStyle = DEFAULT_STYLE
    updates_per_batch: Positive = 1
    clip: ClipConfig = ClipConfig()
    ratio: Literal["token", "sequence"] = "token"
    kl: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Rate = 1.0
    micro_batch: Positive | None = None

    @model_validator(mode="after")
    def _schedule_of_known_length(self) -> TrainConfig:
        if self.budget and self.schedule != "constant":
            raise ValueError(
                f"schedule {self.schedule!r} runs over train.steps, of which a budget may take fewer; "
                "set schedule to constant, or leave train.budget out"
            )
        return self

    @model_validator(mode="after")
    def _clip_that_bites(self) -> TrainConfig:
        idle = {"clip": self.clip != ClipConfig(), "ratio": self.ratio != "token"}
        if self.updates_per_batch == 1 and any(idle.values()):
            raise ValueError(
                f"{' and '.join(name for name in idle if idle[name])} is set and decides nothing: with "
                "updates_per_batch 1 the ratio that is clipped is 1; remove it, or set updates_per_batch to 2 or more"
            )
        return self

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> TrainConfig:
        rollouts = self.prompts_per_step * self.group_size
        if self.micro_batch and rollouts % self.micro_batch:
            raise ValueError(
                f"prompts_per_step {self.prompts_per_step} × group_size {self.group_size} = {rollouts} rollouts "
                f"do not split into micro-batches of {self.micro_batch}; set micro_batch to a divisor of {rollouts}"
            )
        return self


class CreditConfig(Strict):
    """Settings from critiques to token rewards (paper, sections on voting and on token rewards)."""

    segmenter: Annotated[str, AfterValidator(SEGMENTERS.check)] = "blank_lines"
    critiques: Positive = 4
    vote: Annotated[str, AfterValidator(VOTES.check)] = "intersection"
    at_least: Positive | None = None
    w_whole: Annotated[float, Field(ge=0)] = 2.0
    w_process: Annotated[float, Field(ge=0)] = 1.0
    normalization: Annotated[str, AfterValidator(NORMALIZATIONS.check)] = "all_tokens"
    max_abstained: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _as_the_rule_needs(self) -> CreditConfig:
        rule = VOTES.get(self.vote)
        if rule.takes_number != (self.at_least is not None):
            needs = "takes the number of critiques that must agree; set it" if rule.takes_number else "takes no number"
            way_out = "" if rule.takes_number else "; leave at_least out"
            raise ValueError(f"vote {self.vote!r} with at_least {self.at_least}: the rule {needs}{way_out}")
        if self.at_least is not None and self.at_least > self.critiques:
            raise ValueError(
                f"vote {self.vote!r} needs {self.at_least} critiques that agree but critiques is {self.critiques}; "
                f"set critiques to {self.at_least} or more, or at_least to {self.critiques} or fewer"
            )
        if rule.asks_one and self.critiques != 1:
            raise ValueError(
                f"vote {self.vote!r} takes one critique at temperature 0 but critiques is {self.critiques}; "
                "set critiques to 1"
            )
        return self


class ValuesConfig(Strict):
    """Monte Carlo values of steps, for methods that sample continuations.

    Attributes:
        samples: Continuations per state.
        oracle_samples: Continuations per state for the method `oracle`, whose values should be close to the true ones.
        segment: Number of steps that are credited together, for methods that credit segments.
    """

    samples: Positive = 9
    oracle_samples: Positive = 200
    segment: Positive = 2


class TrialConfig(Strict):
    """All settings of a trial except the seed."""

    method: Annotated[str, AfterValidator(METHODS.check)] = "capo"
    backbone: Annotated[str, AfterValidator(BACKBONES.check)] = "tiny"
    benchmark: BenchmarkName = "coins"
    cold_start: ColdStart | None = ColdStartConfig()
    train: TrainConfig = TrainConfig()
    credit: CreditConfig = CreditConfig()
    critic: AnyCritic = Field(default_factory=make_default_critic)
    prm: PrmConfig = PrmConfig()
    values: ValuesConfig = ValuesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("benchmark")
    @classmethod
    def _benchmark_known(cls, named: str | ProblemRows) -> str | ProblemRows:
        return BENCHMARKS.check(named) if isinstance(named, str) else named

    @field_validator("evaluation")
    @classmethod
    def _evaluation_segmenter_known(cls, evaluation: EvaluationConfig) -> EvaluationConfig:
        SEGMENTERS.check(evaluation.segmenter)
        return evaluation

    @property
    def terms(self) -> Terms:
        """Settings of the credit function: those of the process reward model if the method uses one."""
        if "prm" in METHODS.get(self.method).uses:
            return Terms(w_whole=self.prm.w_whole, temperature=self.prm.temperature, segment=self.values.segment)
        return Terms(
            self.credit.w_whole,
            self.credit.w_process,
            NORMALIZATIONS.get(self.credit.normalization),
            segment=self.values.segment,
        )

    @property
    def samples_per_state(self) -> int:
        """Continuations per state; 0 for a method without Monte Carlo values."""
        method = METHODS.get(self.method)
        if "values" not in method.uses:
            return 0
        return self.values.oracle_samples if method.heeds("values.oracle_samples") else self.values.samples

    @property
    def supervised(self) -> ColdStartConfig | SftConfig | None:
        """Settings of the supervised training before the trial; None if there is none."""
        return self.cold_start if METHODS.get(self.method).heeds("cold_start") else None
