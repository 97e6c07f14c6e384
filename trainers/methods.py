"""List the training methods by name. This module is light: a method's trainer is imported when training starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from evals.registry import Registry

if TYPE_CHECKING:
    from trainers.credit.terms import CreditFunction

SECTIONS = ("train", "credit", "critic", "prm", "values")
"""Sections of `TrialConfig` that only some methods use (`Method.uses`)."""

VOTED = ("critiques", "vote", "at_least", "w_whole", "w_process", "max_abstained")
"""Settings of `credit` that have no effect without a critic."""


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        uses: Sections of `TrialConfig` that affect its result, besides method, backbone, benchmark, cold start and
            evaluation. The other sections are not part of a trial's identity.
        ignores: Sections, and dotted keys of used sections, that have no effect. They are not part of a trial's
            identity.
        train: ``"module:function"`` of the training function, imported when training starts. The function takes a
            `TrainRun` and returns True when training is complete, False when `stop` ended it early. None: the starting
            model is the result.
        credit: ``"module:function"`` of the `CreditFunction`, for a method whose advantages are computed once per step.
            It also recomputes the credit of stored rollouts. Its module is light. None: TRL or the method's trainer
            computes the advantages.
    """

    name: str
    source: str
    uses: frozenset[str] = field(default_factory=frozenset)
    ignores: frozenset[str] = field(default_factory=frozenset)
    train: str | None = None
    credit: str | None = None

    @property
    def rests_on_rollouts(self) -> bool:
        """Whether the credit of steps can be recomputed from stored rollouts."""
        return self.credit is not None and "values" not in self.uses

    def heeds(self, key: str) -> bool:
        """Return whether a section, or a dotted key of the settings, can have an effect under this method."""
        section = key.partition(".")[0]
        return not {key, section} & self.ignores and (section not in SECTIONS or section in self.uses)


def find_credit_function(method: str) -> CreditFunction:
    """Return the function that computes the advantages of steps for the method with this name.

    Raises:
        ValueError: The method has no such function.
    """
    named = METHODS.get(method).credit
    if named is None:
        raise ValueError(f"method {method!r} gives no credit to steps; name its function in its description (Method)")
    function: CreditFunction = resolve_name(named)
    return function


def _make_plain(name: str, source: str, *ignores: str) -> Method:
    """Return a method with TRL's own advantages; its module has the method's name."""
    return Method(name, source, frozenset({"train"}), frozenset(ignores), f"trainers.{name}:train")


def _make_voted(name: str, source: str, *ignores: str) -> Method:
    """Return a method whose credit uses CAPO's votes; the module of the credit has the method's name."""
    uses, credit = frozenset({"train", "credit", "critic"}), f"trainers.credit.{name}:{name}"
    return Method(name, source, uses, frozenset(ignores), "trainers.capo:train", credit)


def _make_unjudged(name: str, source: str) -> Method:
    """Return a method whose credit uses no critic; the module of the credit has the method's name."""
    credit = f"trainers.credit.{name}:{name}"
    return Method(name, source, frozenset({"train"}), train="trainers.critic_free:train", credit=credit)


def _make_valued(name: str, source: str, function: str, *ignores: str) -> Method:
    """Return a method whose credit uses values that are estimated over continuations."""
    uses, credit = frozenset({"train", "values"}), f"trainers.credit.{function}"
    return Method(name, source, uses, frozenset(ignores), "trainers.valued:train", credit)


BASE = Method("base", source="the backbone as it is, untouched", ignores=frozenset({"cold_start"}))
SFT = Method("sft", source="paper, baselines: supervised fine-tuning, the cold start of the others, as it is")
GRPO_RULE = _make_plain(
    "grpo_rule", "paper, baselines: GRPO (arXiv 2402.03300) with the rule verifier's outcome as the only reward"
)
DR_GRPO = _make_plain("dr_grpo", "arXiv 2503.20783: GRPO without division by length and spread")
DAPO = _make_plain(
    "dapo", "arXiv 2503.14476, without dynamic sampling: token-level loss, higher clip, soft overlong punishment"
)
RLOO = _make_plain("rloo", "arXiv 2402.14740: REINFORCE, the others of the group as baseline", "train.ratio")
GRPO_GENORM = Method(
    "grpo_genorm",
    source="paper, baselines: GRPO with an LLM's voted judgment of the whole answer as the only reward",
    uses=frozenset({"train", "credit", "critic"}),
    train="trainers.grpo_genorm:train",
)
CAPO = _make_voted("capo", "arXiv 2508.02298")
FIRST_ERROR = _make_voted("first_error", "CAPO's critiques and votes, charged from the first wrong step on")
SPREAD = _make_voted(
    "spread", "a control: CAPO's critiques and votes, their charge spread evenly over the tokens of the rollout"
)
OUTCOME_ONLY = Method(
    "outcome_only",
    source="a control: CAPO with W_process = 0, so that no critic is asked, and CAPO's normalisation",
    uses=frozenset({"train", "credit"}),
    ignores=frozenset(f"credit.{key}" for key in VOTED),
    train="trainers.critic_free:train",
    credit="trainers.credit.outcome_only:outcome_only",
)

PRM_SUM = Method(
    "prm_sum",
    source="arXiv 2402.03300, section 4.1.3: GRPO with process supervision, scores of steps added up, and the outcome",
    uses=frozenset({"train", "prm"}),
    ignores=frozenset({"prm.temperature"}),
    train="trainers.prm_trainer:train",
    credit="trainers.credit.prm_sum:prm_sum",
)
PRM_MIN = Method(
    "prm_min",
    source="arXiv 2504.15275 (PURE): the worst of a process reward model's scores, and the outcome",
    uses=frozenset({"train", "prm"}),
    train="trainers.prm_trainer:train",
    credit="trainers.credit.prm_min:prm_min",
)

VPPO = _make_voted(
    "vppo",
    "arXiv 2601.18984: of a wrong answer the steps before its first error earn, the others pay",
    "credit.normalization",
)
PAPO = _make_voted(
    "papo",
    "arXiv 2603.26535: outcome normalised over all answers, process over right ones only",
    "credit.normalization",
)
PRPO = _make_voted(
    "prpo",
    "arXiv 2601.07182: process advantages of steps, shifted to the outcome's",
    "credit.normalization",
)
PROGRS = _make_voted(
    "progrs",
    "arXiv 2604.02341: GRPO with a process bonus that is centred among wrong answers",
    "credit.normalization",
)
DRACO = _make_voted(
    "draco",
    "arXiv 2609.04094: GRPO's advantage of a rollout, moved among its steps by a judgment of them",
    "credit.normalization",
    "credit.w_whole",
)
LAMBDA_GRPO = _make_unjudged(
    "lambda_grpo", "arXiv 2509.21154: GRPO, a step divided by how many rollouts of its group share it; asks no critic"
)
RTMC = _make_unjudged(
    "rtmc", "arXiv 2604.11037: Monte Carlo over the states that a group's rollouts share; asks no critic"
)
VINEPPO = _make_valued(
    "vineppo",
    "arXiv 2410.01679: Monte Carlo values of every step; asks no critic, samples continuations",
    "monte_carlo:monte_carlo",
    *("values.segment", "values.oracle_samples"),
)
SPO = _make_valued(
    "spo",
    "arXiv 2505.23564: Monte Carlo values of segments; asks no critic, samples continuations",
    "segments:segments",
    "values.oracle_samples",
)
ORACLE = _make_valued(
    "oracle",
    "an upper bound: the true advantages of steps, counted over many continuations",
    "monte_carlo:monte_carlo",
    *("values.segment", "values.samples"),
)

NAMES = (
    "base", "sft", "grpo_rule", "dr_grpo", "dapo", "rloo", "grpo_genorm", "capo", "first_error", "spread",
    "outcome_only", "prm_sum", "prm_min", "vppo", "papo", "prpo", "progrs", "draco", "lambda_grpo", "rtmc", "vineppo",
    "spo", "oracle",
)  # fmt: skip
METHODS: Registry[Method] = Registry(
    "method", "capo_bench.methods", {name: f"trainers.methods:{name.upper()}" for name in NAMES}
)
