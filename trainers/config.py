"""What a study may say about one trial. Light: pydantic only, so that validation needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from evals.config import EvaluationConfig, Positive, Strict, check_benchmark
from trainers.backbones import BACKBONES
from trainers.budget import BudgetConfig
from trainers.credit.normalization import NORMALIZATIONS
from trainers.credit.segment import SEGMENTERS
from trainers.credit.votes import VOTES
from trainers.critics import CRITICS, critic_params
from trainers.critics.base import CriticParams
from trainers.methods import METHODS
from trainers.prm.config import PrmConfig
from trainers.sft import SupervisedConfig

Rate = Annotated[float, Field(gt=0)]

if TYPE_CHECKING:
    AnyCritic = CriticParams
else:
    AnyCritic = critic_params()


def default_critic() -> CriticParams:
    """Return the critic of a trial that names none: the exact one."""
    return CRITICS.get("exact")(name="exact")


class ColdStartConfig(SupervisedConfig):
    """Supervised start of the embedded backbone on demonstrations that slip, shared by all trials.

    Later steps follow a slip. Clean demonstrations leave sharp errors, which reinforcement cannot soften.
    """


class TrainConfig(Strict):
    """Reinforcement: each step samples `prompts_per_step` groups of `group_size` rollouts and updates once."""

    steps: Positive = 50
    budget: BudgetConfig | None = None
    prompts_per_step: Positive = 8
    group_size: Annotated[int, Field(ge=2)] = 16
    learning_rate: Rate = 2e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    max_completion_tokens: Positive = 96
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
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
    def _whole_micro_batches(self) -> TrainConfig:
        rollouts = self.prompts_per_step * self.group_size
        if self.micro_batch and rollouts % self.micro_batch:
            raise ValueError(
                f"prompts_per_step {self.prompts_per_step} × group_size {self.group_size} = {rollouts} rollouts "
                f"do not split into micro-batches of {self.micro_batch}; set micro_batch to a divisor of {rollouts}"
            )
        return self


class CreditConfig(Strict):
    """From critiques to token rewards (paper, sections on voting and on token rewards)."""

    segmenter: str = "blank_lines"
    critiques: Positive = 4
    vote: str = "intersection"
    at_least: Positive | None = None
    w_whole: Annotated[float, Field(ge=0)] = 2.0
    w_process: Annotated[float, Field(ge=0)] = 1.0
    normalization: str = "all_tokens"
    max_abstained: Annotated[float, Field(gt=0, le=1)] = 0.5

    @field_validator("segmenter")
    @classmethod
    def _segmenter_known(cls, name: str) -> str:
        return SEGMENTERS.check(name)

    @field_validator("vote")
    @classmethod
    def _vote_known(cls, name: str) -> str:
        return VOTES.check(name)

    @field_validator("normalization")
    @classmethod
    def _normalization_known(cls, name: str) -> str:
        return NORMALIZATIONS.check(name)

    @model_validator(mode="after")
    def _enough_critiques(self) -> CreditConfig:
        if (self.vote == "at_least") != (self.at_least is not None):
            raise ValueError(
                f"vote {self.vote!r} with at_least {self.at_least}: the rule 'at_least' takes the number of critiques "
                "that must agree, the others take none; set both or neither"
            )
        if self.at_least is not None and self.at_least > self.critiques:
            raise ValueError(
                f"vote 'at_least' needs {self.at_least} critiques that agree but critiques is {self.critiques}; "
                f"set critiques to {self.at_least} or more, or at_least to {self.critiques} or fewer"
            )
        if self.vote == "greedy" and self.critiques != 1:
            raise ValueError(
                f"vote 'greedy' takes one critique at temperature 0 but critiques is {self.critiques}; "
                "set critiques to 1"
            )
        return self


class TrialConfig(Strict):
    """Everything that a study may set for a trial; the seed stands apart."""

    method: str = "capo"
    backbone: str = "tiny"
    benchmark: str = "coins"
    cold_start: ColdStartConfig | None = ColdStartConfig()
    train: TrainConfig = TrainConfig()
    credit: CreditConfig = CreditConfig()
    critic: AnyCritic = Field(default_factory=default_critic)
    prm: PrmConfig = PrmConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("method")
    @classmethod
    def _method_known(cls, name: str) -> str:
        return METHODS.check(name)

    @field_validator("backbone")
    @classmethod
    def _backbone_known(cls, name: str) -> str:
        return BACKBONES.check(name)

    @field_validator("benchmark")
    @classmethod
    def _benchmark_known(cls, name: str) -> str:
        return check_benchmark(name)

    @field_validator("evaluation")
    @classmethod
    def _evaluation_segmenter_known(cls, evaluation: EvaluationConfig) -> EvaluationConfig:
        SEGMENTERS.check(evaluation.segmenter)
        return evaluation
