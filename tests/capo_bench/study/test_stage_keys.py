"""Which part of a trial each setting, each file of code and each version decides, and so what is done again."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.study.code import list_definitions
from capo_bench.study.identity import PARTS, hash_generation, hash_plain, hash_training, identify_trial
from capo_bench.study.keys import list_dotted_keys, set_value
from trainers.config import TrialConfig

TASK = "coins_test"
BASE: dict[str, Any] = {"critic": {"name": "noisy"}}


def config(method: str = "capo", **changes: Any) -> TrialConfig:
    tree: dict[str, Any] = {**BASE, "method": method}
    for key, value in changes.items():
        tree = set_value(tree, key.split("."), value)
    return TrialConfig.model_validate(tree)


def keys(settings: TrialConfig, seed: int = 0) -> tuple[str, str, str]:
    """The keys of training, of one task's completions, and of the whole trial."""
    parts = identify_trial(settings)
    return hash_training(parts, seed), hash_generation(parts, TASK, seed), hash_plain([hash_plain(parts), seed])


def redone(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    """The first stage that has to be done again: each is decided by all that decides those before it."""
    same = [one == other for one, other in zip(before, after, strict=True)]
    assert same == sorted(same, reverse=True), "a stage is kept and one before it is not"
    return ("training", "generation", "scoring", "nothing")[sum(same)]


# -- settings

TRAINING: dict[str, Any] = {
    "method": "grpo_genorm",
    "backbone": "qwen2.5-1.5b",
    "cold_start": None,
    "cold_start.slip": 0.5,
    "train.steps": 7,
    "train.micro_batch": 64,
    "credit.vote": "union",
    "credit.segmenter": "lines",
    "critic": {"name": "exact"},
    "critic.miss": 0.5,
}
GENERATION: dict[str, Any] = {
    "evaluation.answers": "stated",
    "evaluation.problems": 7,
    "evaluation.samples": 7,
    "evaluation.temperature": 0.5,
    "evaluation.top_p": 0.5,
    "evaluation.max_completion_tokens": 7,
    "evaluation.backend": "vllm",
    "evaluation.batch_size": 7,
}
SCORING: dict[str, Any] = {"evaluation.segmenter": "lines", "evaluation.tasks": [TASK]}
SETTINGS = [
    *((key, value, "training") for key, value in TRAINING.items()),
    *((key, value, "generation") for key, value in GENERATION.items()),
    *((key, value, "scoring") for key, value in SCORING.items()),
]


@pytest.mark.parametrize(("key", "value", "stage"), SETTINGS)
def test_what_a_setting_makes_anew(key: str, value: Any, stage: str) -> None:
    assert redone(keys(config()), keys(config(**{key: value}))) == stage


def test_every_setting_of_the_evaluation_is_in_the_tables() -> None:
    known = {key for key in list_dotted_keys(TrialConfig) if key.startswith("evaluation.")}
    rows = {key for key in known if key.startswith("evaluation.rows")}  # known by their content
    assert {*GENERATION, *SCORING, "evaluation.data_dir", "evaluation.greedy"} | rows == known


def test_whether_greedy_answers_are_asked_for_decides_generation() -> None:
    samples = {"evaluation.samples": 8}
    assert redone(keys(config(**samples)), keys(config(**samples, **{"evaluation.greedy": False}))) == "generation"


def test_the_evaluations_segmenter_cuts_the_rollouts_of_a_method_that_asks_no_critic() -> None:
    lines = {"evaluation.segmenter": "lines"}
    assert redone(keys(config("grpo_rule")), keys(config("grpo_rule", **lines))) == "training"
    assert redone(keys(config("sft")), keys(config("sft", **lines))) == "scoring"


@pytest.mark.parametrize("key", [key for key in TRAINING if key.startswith(("train", "credit", "critic"))])
def test_the_start_is_measured_once_for_all_that_begin_alike(key: str) -> None:
    assert redone(keys(config("sft")), keys(config("sft", **{key: TRAINING[key]}))) == "nothing"


@pytest.mark.parametrize("tasks", [[TASK], [TASK, "coins_longer"], ["coins_distractors", TASK], [TASK, "aime24"]])
def test_what_a_task_is_asked_does_not_depend_on_the_other_tasks(tasks: list[str]) -> None:
    assert keys(config(**{"evaluation.tasks": tasks}))[:2] == keys(config())[:2]


def test_each_task_has_its_own_key() -> None:
    parts = identify_trial(config())
    assert len({hash_generation(parts, task, 0) for task in ("coins_test", "coins_longer", "coins_distractors")}) == 3
    with pytest.raises(KeyError, match="aime24"):
        hash_generation(parts, "aime24", 0)


@pytest.mark.parametrize("method", ["sft", "grpo_rule", "capo"])
def test_the_seed_decides_every_stage(method: str) -> None:
    assert redone(keys(config(method), 0), keys(config(method), 1)) == "training"


# -- versions, data and code, as they stand in the identity


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        (("version",), "training"),
        (("training", "packages", "torch"), "training"),
        (("training", "packages", "math-verify"), "training"),
        (("training", "verifier"), "training"),
        (("training", "benchmark", "fingerprint"), "training"),
        (("training", "cold_start", "key"), "training"),
        (("training", "code", "method"), "training"),
        (("training", "stage"), "training"),
        (("training", "code", "verifier"), "training"),
        (("generation", "lm_eval"), "generation"),
        (("generation", "tasks", TASK, "settings"), "generation"),
        (("generation", "code", "asking"), "generation"),
        (("generation", "stage"), "generation"),
        (("generation", "tasks", TASK, "code"), "generation"),
        (("generation", "tasks", "coins_longer", "settings"), "scoring"),  # of another task
        (("scoring", "verifier"), "scoring"),
        (("scoring", "code", "metric accuracy"), "scoring"),
        (("scoring", "stage"), "scoring"),
    ],
)
def test_what_a_change_of_the_program_makes_anew(path: Sequence[str], stage: str) -> None:
    before = identify_trial(config())
    after = set_value(copy.deepcopy(before), list(path), "other")
    assert after != before

    def keys_of(parts: dict[str, Any]) -> tuple[str, str, str]:
        return hash_training(parts, 0), hash_generation(parts, TASK, 0), hash_plain(parts)

    assert redone(keys_of(before), keys_of(after)) == stage


# -- which definition decides which stage

CODE = [
    *(("training", name) for name in ("trainers.policy:PolicyTrainer", "trainers.capo:CapoTrainer")),
    *(("training", f"trainers.{name}") for name in ("credit.align:index_steps", "budget:Meter")),
    ("training", "trainers.critics.draws:DrawingCritic"),
    *(("generation", name) for name in ("evals.harness.generate:generate", "evals.harness.tasks:sample")),
    *(("generation", f"evals.models.{name}") for name in ("transformers:TransformersModel", "decode:Decoder")),
    *(("scoring", name) for name in ("evals.metrics:accuracy", "evals.harness.score:judge", "evals.at_k:pass_at_k")),
    *(("shared", name) for name in ("trainers.sft:train_sft", "trainers.backbones.tiny:build_model")),
]


@pytest.mark.parametrize(("stage", "name"), CODE)
def test_a_definition_decides_its_stage(stage: str, name: str) -> None:
    definitions = list_definitions(config())
    assert [one for one in ("shared", *PARTS) if name in definitions[one]] == [stage]


@pytest.mark.parametrize(
    "module",
    ["evals.harness.export", "evals.models.vllm", "evals.models.openai", "capo_bench.run.stages",
     "capo_bench.run.training", "capo_bench.store.keyed", "trainers.config", "trainers.rollouts", "trainers.callbacks",
     "trainers.checkpoints", "trainers.critics.store"],
)  # fmt: skip
def test_what_decides_nothing_is_in_no_stage(module: str) -> None:
    names = {name for stage in list_definitions(config()).values() for name in stage}
    assert module not in {name.partition(":")[0] for name in names}


def test_the_verifier_decides_training_where_it_gives_the_reward() -> None:
    parts = {method: identify_trial(config(method)) for method in ("sft", "capo")}
    for key in ("verifier", "verifier's worker"):
        assert parts["capo"]["training"]["code"][key] == parts["sft"]["scoring"]["code"][key]
        assert key not in parts["sft"]["training"]["code"]
    assert "verifier" in parts["capo"]["training"]
    assert "verifier" not in parts["sft"]["training"]


def test_the_backend_brings_its_own_code() -> None:
    one, other = (list_definitions(config(**{"evaluation.backend": name}))["generation"] for name in ("hf", "vllm"))
    assert "evals.models.transformers:TransformersModel" in {*one} - {*other}
    assert "evals.models.vllm:VllmModel" in {*other} - {*one}


# -- laws

PLAIN = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.text(max_size=2), max_size=3)


@st.composite
def identities(draw: st.DrawFn) -> dict[str, Any]:
    generation = {**draw(PLAIN), "tasks": {"one": draw(PLAIN), "two": draw(PLAIN)}}
    return {"version": 2, "training": draw(PLAIN), "generation": generation, "scoring": draw(PLAIN)}


@given(identities(), identities(), st.integers(0, 1), st.integers(0, 1))
def test_a_training_is_its_part_and_the_seed(one: Any, other: Any, first: int, second: int) -> None:
    alike = (one["training"], first) == (other["training"], second)
    assert (hash_training(one, first) == hash_training(other, second)) == alike


@given(identities(), identities(), st.sampled_from(["one", "two"]))
def test_completions_are_the_training_and_the_way_one_task_is_asked(one: Any, other: Any, task: str) -> None:
    def decides(parts: Any) -> Any:
        rest = {key: value for key, value in parts["generation"].items() if key != "tasks"}
        return parts["training"], rest, parts["generation"]["tasks"][task]

    alike = decides(one) == decides(other)
    assert (hash_generation(one, task, 0) == hash_generation(other, task, 0)) == alike


@given(identities())
def test_no_key_of_one_stage_is_a_key_of_another(parts: Any) -> None:
    found = [hash_training(parts, 0), *(hash_generation(parts, task, 0) for task in ("one", "two"))]
    assert len({*found}) == 3
