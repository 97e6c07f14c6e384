"""Which part of a trial each setting, each file of code and each version decides, and so what is done again."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.study.code import generation_code, scoring_code, training_code
from capo_bench.study.identity import PARTS, digest, generation_key, identity_of, training_key
from capo_bench.study.keys import dotted_keys, with_value
from capo_bench.study.source import closure, imported, module_files
from trainers.config import TrialConfig

TASK = "coins_test"
BASE: dict[str, Any] = {"critic": {"name": "noisy"}}


def config(method: str = "capo", **changes: Any) -> TrialConfig:
    tree: dict[str, Any] = {**BASE, "method": method}
    for key, value in changes.items():
        tree = with_value(tree, key.split("."), value)
    return TrialConfig.model_validate(tree)


def keys(settings: TrialConfig, seed: int = 0) -> tuple[str, str, str]:
    """The keys of training, of one task's completions, and of the whole trial."""
    parts = identity_of(settings)
    return training_key(parts, seed), generation_key(parts, TASK, seed), digest([digest(parts), seed])


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
    known = {key for key in dotted_keys(TrialConfig) if key.startswith("evaluation.")}
    assert {*GENERATION, *SCORING, "evaluation.data_dir"} == known


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
    parts = identity_of(config())
    assert len({generation_key(parts, task, 0) for task in ("coins_test", "coins_longer", "coins_distractors")}) == 3
    with pytest.raises(KeyError, match="aime24"):
        generation_key(parts, "aime24", 0)


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
        (("training", "code", "trainers/capo.py"), "training"),
        (("training", "code", "evals/verify/rules.py"), "training"),
        (("generation", "lm_eval"), "generation"),
        (("generation", "tasks", TASK, "settings"), "generation"),
        (("generation", "code", "evals/harness/generate.py"), "generation"),
        (("generation", "code", "evals/tasks/canonical.py"), "generation"),
        (("generation", "tasks", "coins_longer", "settings"), "scoring"),  # of another task
        (("scoring", "verifier"), "scoring"),
        (("scoring", "code", "evals/metrics.py"), "scoring"),
    ],
)
def test_what_a_change_of_the_program_makes_anew(path: Sequence[str], stage: str) -> None:
    before = identity_of(config())
    after = with_value(copy.deepcopy(before), list(path), "other")
    assert after != before

    def keys_of(parts: dict[str, Any]) -> tuple[str, str, str]:
        return training_key(parts, 0), generation_key(parts, TASK, 0), digest(parts)

    assert redone(keys_of(before), keys_of(after)) == stage


# -- which file decides which stage

HARNESS = {f"evals/harness/{name}.py" for name in ("asking", "generate", "folder", "hf", "local", "tasks")}
CODE = [
    *(("training", name) for name in ("trainers/policy.py", "trainers/capo.py", "trainers/credit/votes.py")),
    *(("training", name) for name in ("trainers/sft.py", "trainers/prompts.py", "trainers/credit/align.py")),
    *(("training", name) for name in ("evals/coins/problems.py", "evals/verify/rules.py", "evals/harness/prompt.py")),
    *(("generation", name) for name in ("evals/tasks/maths.py", "evals/rows.py", "capo_bench/run/evaluation.py")),
    *(("generation", name) for name in sorted(HARNESS)),
    *(("scoring", f"evals/{name}.py") for name in ("metrics", "at_k", "estimates", "harness/score", "harness/results")),
]


@pytest.mark.parametrize(("part", "name"), CODE)
def test_a_file_is_named_with_the_first_stage_that_it_decides(part: str, name: str) -> None:
    parts = identity_of(config())
    assert [one for one in PARTS if name in parts[one]["code"]] == [part]


@pytest.mark.parametrize(
    "name",
    ["evals/harness/export.py", "evals/harness/vllm.py", "evals/harness/openai.py", "capo_bench/run/stages.py",
     "capo_bench/run/training.py", "capo_bench/run/reuse.py", "evals/config.py", "evals/benchmarks.py",
     "trainers/config.py", "trainers/methods.py", "evals/harness/base.py", "trainers/critics/store.py"],
)  # fmt: skip
def test_what_decides_nothing_is_in_no_part(name: str) -> None:
    parts = identity_of(config())
    assert not any(name in parts[one]["code"] for one in PARTS)


def test_code_of_the_evaluation_does_not_decide_training() -> None:
    for method in ("sft", "grpo_rule", "grpo_genorm", "capo"):
        training = identity_of(config(method))["training"]["code"]
        assert not {*HARNESS, "evals/metrics.py", "evals/estimates.py", "capo_bench/run/evaluation.py"} & {*training}
        assert not [name for name in training if name.startswith("evals/tasks/")]


def test_the_verifier_decides_training_where_it_gives_the_reward() -> None:
    name = "evals/verify/rules.py"
    parts = {method: identity_of(config(method)) for method in ("sft", "capo")}
    assert name in parts["capo"]["training"]["code"]
    assert name in parts["sft"]["scoring"]["code"]
    assert "verifier" in parts["capo"]["training"]
    assert "verifier" not in parts["sft"]["training"]


def test_the_backend_brings_its_own_code() -> None:
    one, other = (set(generation_code(backend, "coins")) for backend in ("hf", "vllm"))
    assert "evals/harness/hf.py" in one - other
    assert {"evals/harness/vllm.py", "evals/harness/engine.py"} <= other - one


def test_a_critic_behind_an_endpoint_brings_what_it_talks_through() -> None:
    noisy, openai = (set(training_code("capo", "coins", critic, True)) for critic in ("noisy", "openai"))
    assert "evals/harness/chat.py" in openai - noisy


def test_scoring_names_all_of_its_code_before_what_others_name_is_left_out() -> None:
    whole = scoring_code("coins")
    assert {"evals/verify/rules.py", "evals/metrics.py", "trainers/credit/segment.py", "evals/coins/solutions.py"} <= {
        *whole
    }
    parts = identity_of(config())
    assert {*whole} <= {name for part in PARTS for name in parts[part]["code"]}


def test_what_is_left_out_of_a_closure_is_not_followed() -> None:
    everything = closure("evals.harness.folder", "evals")
    assert {"evals/metrics.py", "evals/at_k.py"} <= {*everything}
    less = closure("evals.harness.folder", "evals", {"evals/metrics.py"})
    assert not {"evals/metrics.py", "evals/at_k.py"} & {*less}
    assert imported(module_files("evals.at_k"), "evals") == {}


# -- laws

PLAIN = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.text(max_size=2), max_size=3)


@st.composite
def identities(draw: st.DrawFn) -> dict[str, Any]:
    generation = {**draw(PLAIN), "tasks": {"one": draw(PLAIN), "two": draw(PLAIN)}}
    return {"version": 1, "training": draw(PLAIN), "generation": generation, "scoring": draw(PLAIN)}


@given(identities(), identities(), st.integers(0, 1), st.integers(0, 1))
def test_a_training_is_its_part_and_the_seed(one: Any, other: Any, first: int, second: int) -> None:
    alike = (one["training"], first) == (other["training"], second)
    assert (training_key(one, first) == training_key(other, second)) == alike


@given(identities(), identities(), st.sampled_from(["one", "two"]))
def test_completions_are_the_training_and_the_way_one_task_is_asked(one: Any, other: Any, task: str) -> None:
    def decides(parts: Any) -> Any:
        rest = {key: value for key, value in parts["generation"].items() if key != "tasks"}
        return parts["training"], rest, parts["generation"]["tasks"][task]

    alike = decides(one) == decides(other)
    assert (generation_key(one, task, 0) == generation_key(other, task, 0)) == alike


@given(identities())
def test_no_key_of_one_stage_is_a_key_of_another(parts: Any) -> None:
    found = [training_key(parts, 0), *(generation_key(parts, task, 0) for task in ("one", "two"))]
    assert len({*found}) == 3
