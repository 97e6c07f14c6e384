"""The id of a trial: changed by everything that decides its result, and by nothing else."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.study.code import list_definitions
from capo_bench.study.identity import (
    PARTS,
    hash_cold_start,
    hash_plain,
    identify_trial,
    list_shared_models,
)
from capo_bench.study.keys import list_dotted_keys, set_value
from capo_bench.study.load import StudyFile, load_plan
from capo_bench.study.parse import parse_study
from capo_bench.study.plan import Plan, Trial
from capo_bench.study.yamlfile import parse_document
from evals import plumbing
from trainers.config import TrialConfig
from trainers.credit.votes import VOTES
from trainers.methods import METHODS

Load = Callable[..., Plan]


def critic_key(settings: TrialConfig) -> str | None:
    return {model.kind: model.key for model in list_shared_models(settings)}.get("critic")


def prm_key(settings: TrialConfig) -> str | None:
    return {model.kind: model.key for model in list_shared_models(settings)}.get("prm")


BASE: dict[str, Any] = {"method": "capo", "critic": {"name": "noisy"}, "train": {"updates_per_batch": 2}}
# Another valid value of every key that a study may set.
CHANGED: dict[str, Any] = {
    "method": "grpo_rule",
    "backbone": "qwen2.5-1.5b",
    "cold_start": None,
    "cold_start.seed": 1,
    "cold_start.steps": 7,
    "cold_start.problems_per_step": 7,
    "cold_start.learning_rate": 0.5,
    "cold_start.adamw_learning_rate": 0.5,
    "cold_start.misconceptions": [],
    "cold_start.belief": 0.5,
    "cold_start.slip": 0.5,
    "cold_start.task": "forks",
    "cold_start.operations": [3, 4],
    "train.steps": 7,
    "train.budget": {"policy_tokens": 7},
    "train.budget.policy_tokens": 8,
    "train.budget.total_tokens": 7,
    "train.budget.train_flops": 7.0,
    "train.budget.seconds": 7.0,
    "train.prompts_per_step": 6,
    "train.group_size": 4,
    "train.learning_rate": 0.5,
    "train.schedule": "linear",
    "train.temperature": 0.5,
    "train.max_completion_tokens": 7,
    "train.kl": 0.5,
    "train.updates_per_batch": 3,
    "train.clip.lower": 0.1,
    "train.clip.upper": 0.4,
    "train.ratio": "sequence",
    "train.answers": "stated",
    "train.max_grad_norm": 0.5,
    "train.micro_batch": 64,
    "credit.segmenter": "lines",
    "credit.critiques": 7,
    "credit.vote": "union",
    "credit.normalization": "apart",
    "credit.w_whole": 0.5,
    "credit.w_process": 0.5,
    "credit.max_abstained": 0.25,
    "critic": {"name": "exact"},
    "critic.false_alarm": 0.5,
    "critic.miss": 0.5,
    "evaluation.tasks": ["coins_test"],
    "evaluation.problems": 7,
    "evaluation.segmenter": "lines",
    "evaluation.samples": 7,
    "evaluation.temperature": 0.5,
    "evaluation.top_p": 0.5,
    "evaluation.answers": "boxed",
    "evaluation.backend": "vllm",
    "evaluation.max_completion_tokens": 7,
    "evaluation.batch_size": 7,
}
# Critics that are language models: their settings as a base, and another valid value of every key of theirs.
LANGUAGE: dict[str, Any] = {"temperature": 0.5, "top_p": 0.5, "max_tokens": 7, "reference": True, "seed": 7}
EMBEDDED: dict[str, Any] = {
    "embedded": {"steps": 9},
    "embedded.seed": 1,
    "embedded.steps": 7,
    "embedded.problems_per_step": 7,
    "embedded.learning_rate": 0.5,
    "embedded.adamw_learning_rate": 0.5,
    "embedded.misconceptions": [],
    "embedded.slip": 0.5,
    "embedded.stray": 0.5,
    "embedded.operations": [3, 4],
}
LOCAL: dict[str, Any] = {**LANGUAGE, **EMBEDDED, "model": "org/critic", "dtype": "bfloat16"}
URL = "http://127.0.0.1:1/v1"
CRITICS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "transformers": ({"name": "transformers"}, LOCAL),
    "vllm": ({"name": "vllm"}, {**LOCAL, "max_model_len": 512}),
    "openai": (
        {"name": "openai", "model": "org/critic", "base_url": URL},
        {**LANGUAGE, "model": "org/other", "body": {"top_k": 5}, "reply": "thinkprm"},
    ),
    "served": (
        {"name": "openai", "model": "embedded", "serve": {}},
        {
            **LANGUAGE, **EMBEDDED, "model": "org/critic", "serve": {"dtype": "float32"}, "serve.dtype": "float32",
            "serve.revision": "abc", "serve.quantization": "fp8", "serve.max_model_len": 512,
        },
    ),
}  # fmt: skip
# Where a critic runs, how fast and at what price: nothing of what it says.
PLACES: dict[str, dict[str, Any]] = {
    "transformers": {"batch_tokens": 7, "parameters": 7e9},
    "vllm": {"gpu_memory_utilization": 0.9, "tensor_parallel_size": 2, "enforce_eager": True},
    "openai": {
        "base_url": "http://127.0.0.1:2/v1",
        "api_key_env": "OTHER_KEY",
        "concurrency": 7,
        "deadline_seconds": 7.0,
        "max_retries": 7,
        "breaker": {"failures": 7},
        "breaker.failures": 7,
        "breaker.cool_down_seconds": 7.0,
        "price": {"prompt": 1.0, "cached": 0.5, "output": 2.0},
    },
    "served": {
        "serve.gpus": 2,
        "serve.tensor_parallel_size": 1,
        "serve.gpu_memory_utilization": 0.5,
        "serve.max_num_seqs": 7,
        "serve.enforce_eager": True,
        "serve.start_seconds": 7.0,
    },
}
# The same for methods with a process reward model.
PRM: dict[str, Any] = {
    "prm.model": "org/prm",
    "prm.dtype": "bfloat16",
    "prm.batch_tokens": 7,
    "prm.segmenter": "lines",
    "prm.w_whole": 0.5,
    "prm.temperature": None,
    "prm.max_unscored": 0.25,
    **{f"prm.{name}": value for name, value in EMBEDDED.items()},
}
PRM_PLACES: dict[str, Any] = {"prm.parameters": 7e9}
"""Of a process reward model too: nothing of its scores."""
ELSEWHERE: dict[str, Any] = {"prm.format": "qwen", "prm.revision": "main"}
"""Settings of a model that is not the embedded one."""
SHOWN: dict[str, Any] = {"demonstrations": "math", "max_tokens": 7, "micro_batch": 7}
"""Settings of a supervised start on demonstrations that a study names."""
VALUES: dict[str, Any] = {"values.samples": 7, "values.oracle_samples": 7, "values.segment": 7}
"""Settings of methods that sample continuations."""
HEED_VALUES = {"vineppo": {"values.samples"}, "spo": {"values.samples", "values.segment"},
               "oracle": {"values.oracle_samples"}}  # fmt: skip
ROWS = ("benchmark.", "cold_start.demonstrations.", "evaluation.rows.")
# Keys with one valid value today, sections (their keys are here), and a key that goes with another.
APART = {
    "benchmark",
    "evaluation.data_dir",
    "evaluation.rows",
    "evaluation.greedy",
    "critic.name",
    "train",
    "credit",
    "prm",
    "values",
    "evaluation",
    "credit.at_least",
    "critic.rate",  # of the random critic alone
    "train.clip",
}


def config(base: dict[str, Any] = BASE, **changes: Any) -> TrialConfig:
    tree = base
    for key, value in changes.items():
        tree = set_value(tree, key.split("."), value)
    return TrialConfig.model_validate(tree)


def key(settings: TrialConfig) -> str:
    return hash_plain(identify_trial(settings))


def code_of(settings: TrialConfig, *parts: str) -> set[str]:
    """The definitions of some parts of an identity, or of all."""
    definitions = list_definitions(settings)
    return {name for part in parts or ("shared", *PARTS) for name in definitions[part]}


def value_at(tree: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        tree = tree[key]
    return tree


def test_the_tables_have_every_key() -> None:
    language = [key for _, changed in CRITICS.values() for key in changed]
    places = [key for changed in PLACES.values() for key in changed]
    price = {f"price.{part}" for part in ("prompt", "cached", "output")}  # parts of no use one by one
    critics = {f"critic.{key}" for key in {*language, *places, *price, "revision"}}
    rules = {key for key in list_dotted_keys(TrialConfig) if ".misconceptions." in key}  # of the items of a list
    rows = {key for key in list_dotted_keys(TrialConfig) if key.startswith(ROWS)}  # known by their content
    shown = {f"cold_start.{key}" for key in SHOWN}
    tables = {*CHANGED, *VALUES, *PRM, *PRM_PLACES, *ELSEWHERE, *shown} | APART | critics | rules | rows
    assert tables == {*list_dotted_keys(TrialConfig)}


@pytest.mark.parametrize("changed", VALUES)
@pytest.mark.parametrize("method", METHODS.names())
def test_continuations_decide_the_methods_that_sample_them(method: str, changed: str) -> None:
    base = {**BASE, "method": method}
    new = key(config(base, **{changed: VALUES[changed]})) != key(config(base))
    assert new == (changed in HEED_VALUES.get(method, set()))


@pytest.mark.parametrize("changed", [*SHOWN, "seed", "steps", "problems_per_step", "learning_rate"])
def test_what_is_said_of_a_supervised_start_on_demonstrations_decides_it(changed: str) -> None:
    settings = {"demonstrations": "gsm8k"}
    value = SHOWN.get(changed, CHANGED.get(f"cold_start.{changed}"))
    one, other = config(cold_start=settings), config(cold_start={**settings, changed: value})
    assert hash_cold_start(one) != hash_cold_start(other)
    assert key(one) != key(other)


def test_the_untouched_model_knows_nothing_of_a_supervised_start() -> None:
    base = {**BASE, "method": "base"}
    assert key(config(base)) == key(config(base, cold_start=None)) == key(config(base, **{"cold_start.steps": 7}))
    assert "trainers.cold_start:train_cold_start" not in code_of(config(base))
    assert list_shared_models(config(base)) == []


def language_critics(table: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [(name, key, value) for name, (_, changed) in table.items() for key, value in changed.items()]


@pytest.mark.parametrize(("name", "changed", "value"), language_critics(CRITICS))
def test_what_a_language_model_says_decides(name: str, changed: str, value: Any) -> None:
    settings = CRITICS[name][0]
    one = config(critic=settings)
    assert key(config(critic=set_value(settings, changed.split("."), value))) != key(one)


@pytest.mark.parametrize(("name", "changed", "value"), language_critics({n: ({}, c) for n, c in PLACES.items()}))
def test_where_a_language_model_runs_does_not(name: str, changed: str, value: Any) -> None:
    settings = CRITICS[name][0]
    assert key(config(critic=set_value(settings, changed.split("."), value))) == key(config(critic=settings))


def test_how_the_embedded_critic_is_taught_does_not_matter_to_another_model() -> None:
    other = {"name": "transformers", "model": "org/critic"}
    assert key(config(critic={**other, "embedded": {"steps": 9}})) == key(config(critic=other))


def test_a_critic_in_a_folder_is_known_by_its_weights(tmp_path: Path) -> None:
    folder = {"name": "transformers", "model": str(tmp_path)}
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = identify_trial(config(critic=folder))["training"]["critic"]
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert first["content"] != identify_trial(config(critic=folder))["training"]["critic"]["content"]


def test_the_prompts_version_is_part_of_a_language_models_identity() -> None:
    assert identify_trial(config(critic={"name": "transformers"}))["training"]["critic"]["prompt_version"]


# -- the embedded critic


def test_the_embedded_critic_is_shared_by_all_that_ask_it_alike() -> None:
    alike = [
        {"name": "transformers"},
        {"name": "transformers", "temperature": 0.5, "reference": True},
        {"name": "vllm"},
    ]
    keys = {critic_key(config(critic=settings)) for settings in alike}
    assert len(keys) == 1
    assert keys == {critic_key(config(method="grpo_genorm", critic=alike[0]))}


@pytest.mark.parametrize("changed", EMBEDDED)
def test_what_decides_the_embedded_critic(changed: str) -> None:
    settings = {"name": "transformers"}
    other = set_value(settings, changed.split("."), EMBEDDED[changed])
    assert critic_key(config(critic=other)) != critic_key(config(critic=settings))


@pytest.mark.parametrize(
    "settings",
    [{"critic": {"name": "noisy"}}, {"critic": {"name": "transformers", "model": "org/critic"}},
     {"critic": {"name": "transformers"}, "method": "grpo_rule"}],
)  # fmt: skip
def test_who_needs_no_embedded_critic(settings: dict[str, Any]) -> None:
    assert critic_key(config(**settings)) is None
    assert [model.kind for model in list_shared_models(config(**settings))] == ["cold_start"]


def test_a_trial_says_which_models_it_shares() -> None:
    settings = config(critic={"name": "transformers"})
    keys = {model.kind: model.key for model in list_shared_models(settings)}
    assert keys == {"cold_start": hash_cold_start(settings), "critic": critic_key(settings)}
    assert identify_trial(settings)["training"]["critic"]["embedded"] == critic_key(settings)


def test_the_code_of_a_language_model_is_what_it_runs_through() -> None:
    code = {name: code_of(config(critic=settings), "training") for name, (settings, _) in CRITICS.items()}
    shared = {
        "trainers.critics.language:LanguageCritic",
        "trainers.credit.parse:parse",
        "trainers.credit.prompt:critique_prompt",
    }
    assert all(shared <= names for names in code.values())
    assert "evals.models.decode:Decoder" in code["transformers"] - code["openai"]
    assert "evals.models.openai:EndpointModel" in code["openai"] - code["vllm"]
    assert not shared & code_of(config(), "training")


def test_the_rate_of_the_random_critic_decides() -> None:
    first, other = (config({"critic": {"name": "random", "rate": rate}}) for rate in (0.1, 0.2))
    assert key(first) != key(other)


def test_rloo_has_a_ratio_of_its_own() -> None:
    rloo = {**BASE, "method": "rloo"}
    assert key(config(rloo, **{"train.ratio": "sequence"})) == key(config(rloo))
    assert key(config(rloo, **{"train.clip.upper": 0.4})) != key(config(rloo))


@pytest.mark.parametrize("changed", ["critiques", "vote", "w_whole", "w_process", "max_abstained"])
def test_what_only_votes_need_decides_nothing_where_no_critic_is_asked(changed: str) -> None:
    changes = {f"credit.{changed}": CHANGED[f"credit.{changed}"]}
    assert key(config(method="outcome_only", **changes)) == key(config(method="outcome_only"))
    assert key(config(method="spread", **changes)) != key(config(method="spread"))


@pytest.mark.parametrize("changed", CHANGED)
def test_every_key_decides(changed: str) -> None:
    assert key(config(**{changed: CHANGED[changed]})) != key(config())


def test_at_least_decides() -> None:
    two, three = (config(**{"credit.vote": "at_least", "credit.at_least": n}) for n in (2, 3))
    assert key(two) != key(three)


def test_all_these_ids_differ() -> None:
    ids = {key(config(**{changed: value})) for changed, value in CHANGED.items()}
    assert len(ids) == len(CHANGED)


ALL = CHANGED | PRM
IGNORED = [name for name in ALL if name.startswith(("credit", "critic", "prm"))]


@pytest.mark.parametrize("changed", IGNORED)
def test_credit_and_judges_do_not_matter_to_grpo_rule(changed: str) -> None:
    grpo = {**BASE, "method": "grpo_rule"}
    assert key(config(grpo, **{changed: ALL[changed]})) == key(config(grpo))


@pytest.mark.parametrize("changed", [*IGNORED, *(name for name in CHANGED if name.startswith("train"))])
def test_nothing_of_training_matters_to_the_start(changed: str) -> None:
    sft = {**BASE, "method": "sft"}
    assert key(config(sft, **{changed: ALL[changed]})) == key(config(sft))


# -- process reward models


@pytest.mark.parametrize("changed", PRM)
def test_every_key_of_a_process_reward_model_decides(changed: str) -> None:
    base = config({"method": "prm_min"})
    assert key(config({"method": "prm_min"}, **{changed: PRM[changed]})) != key(base)
    assert key(config(**{changed: PRM[changed]})) == key(config()), "and nothing under CAPO"


@pytest.mark.parametrize("changed", PRM_PLACES)
@pytest.mark.parametrize("model", ["embedded", "org/prm"])
def test_how_large_a_process_reward_model_is_said_to_be_decides_nothing(changed: str, model: str) -> None:
    base = {"method": "prm_min", "prm": {"model": model}}
    assert key(config(base, **{changed: PRM_PLACES[changed]})) == key(config(base))


def test_the_temperature_is_min_credits_alone() -> None:
    one, other = (config({"method": "prm_sum"}, **{"prm.temperature": value}) for value in (0.1, None))
    assert key(one) == key(other)
    assert "temperature" not in identify_trial(one)["training"]["prm"]


@pytest.mark.parametrize("changed", ELSEWHERE)
def test_every_key_of_a_model_from_elsewhere_decides(changed: str) -> None:
    base = {"method": "prm_sum", "prm": {"model": "org/prm"}}
    assert key(config(base, **{changed: ELSEWHERE[changed]})) != key(config(base))
    assert key(config(base, **{"prm.embedded.steps": 7})) == key(config(base))


@pytest.mark.parametrize("changed", [name for name in CHANGED if name.startswith(("credit", "critic"))])
def test_credit_and_critic_do_not_matter_to_a_process_reward_model(changed: str) -> None:
    prm = {**BASE, "method": "prm_sum"}
    assert key(config(prm, **{changed: CHANGED[changed]})) == key(config(prm))


def test_a_process_reward_model_in_a_folder_is_known_by_its_weights(tmp_path: Path) -> None:
    base = {"method": "prm_sum", "prm": {"model": str(tmp_path)}}
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = identify_trial(config(base))["training"]["prm"]
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert first["content"] != identify_trial(config(base))["training"]["prm"]["content"]


def test_the_embedded_process_reward_model_is_shared_by_both_methods() -> None:
    one, other = (config({"method": method}) for method in ("prm_sum", "prm_min"))
    assert prm_key(one) == prm_key(other) == identify_trial(one)["training"]["prm"]["embedded"]
    assert {model.kind: model.key for model in list_shared_models(one)} == {
        "cold_start": hash_cold_start(one),
        "prm": prm_key(one),
    }
    assert prm_key(config(method="capo")) is None
    assert prm_key(config({"method": "prm_sum", "prm": {"model": "org/prm"}})) is None


@pytest.mark.parametrize("changed", EMBEDDED)
def test_what_decides_the_embedded_process_reward_model(changed: str) -> None:
    base: dict[str, Any] = {"method": "prm_sum"}
    assert prm_key(config(base, **{f"prm.{changed}": EMBEDDED[changed]})) != prm_key(config(base))
    assert prm_key(config(base, **{"prm.w_whole": 0.5})) == prm_key(config(base))


def test_the_code_of_a_process_reward_model_is_what_it_runs_through() -> None:
    code = {method: code_of(config({**BASE, "method": method}), "training") for method in METHODS.names()}
    for method in ("prm_sum", "prm_min"):
        assert {"trainers.prm_trainer:ScoredTrainer", "trainers.prm.scorer:Scorer"} <= {*code[method]}
        assert {f"trainers.credit.{method}:{method}", "trainers.credit.scored:compute_scored_advantages"} <= {
            *code[method]
        }
        assert "trainers.prm.embedded:train_prm" not in code[method]
    others = set().union(*(names for method, names in code.items() if not method.startswith("prm")))
    assert not [name for name in others if name.startswith(("trainers.prm.", "trainers.prm_"))]


def test_a_default_written_out_is_the_default() -> None:
    assert key(config(**{"credit.critiques": 4, "train.kl": 0.0})) == key(config())
    assert key(config(**{"train.kl": 0})) == key(config())


@pytest.mark.parametrize(
    "changed",
    [
        *("version", "training.verifier", "training.packages.trl", "training.packages.python"),
        *("training.code.method", "training.benchmark.fingerprint", "generation.lm_eval"),
        *("generation.code.asking", "generation.tasks.coins_test", "scoring.verifier"),
        "scoring.code.metric accuracy",
        "training.stage",
        "generation.stage",
        "scoring.stage",
    ],
)
def test_versions_code_and_data_decide(changed: str) -> None:
    parts = identify_trial(config())
    section, _, rest = changed.partition(".")
    inner, _, name = rest.partition(".")
    keys = [key for key in (section, inner, name) if key]
    assert value_at(parts, keys)
    assert hash_plain(set_value(parts, keys, "other")) != hash_plain(parts)


def test_parts_say_what_they_are() -> None:
    assert list(identify_trial(config())) == ["version", *PARTS]
    parts = identify_trial(config())["training"]
    assert parts["benchmark"]["name"] == "coins"
    assert parts["backbone"]["width"] == 128
    assert parts["cold_start"]["key"] == hash_cold_start(config())
    assert set(parts["packages"]) == {"python", "torch", "transformers", "trl", "math-verify"}
    assert "seed" not in parts


def test_code_is_of_the_parts_used() -> None:
    code = {method: code_of(config({**BASE, "method": method})) for method in ("sft", "grpo_rule", "capo")}
    everywhere = {
        "evals.coins.problems:draw",
        "evals.verify.rules:find_broken_cap",
        "evals.verify.worker:judge",
        "trainers.credit.segment:list_step_texts",
        "trainers.sft:train_sft",
    }
    assert all(everywhere <= names for names in code.values())
    assert {"trainers.policy:PolicyTrainer", "trainers.grpo_rule:train"} <= code["grpo_rule"] - code["sft"]
    assert {"trainers.capo:train", "trainers.critics.draws:DrawingCritic"} <= code["capo"] - code["grpo_rule"]
    votes = {VOTES.target(name) for name in VOTES.names()}
    assert votes & code["capo"] == {VOTES.target(config().credit.vote)}
    assert "trainers.critics.exact:ExactParams" in code_of(config(critic={"name": "exact"}), "training")
    assert "trainers.grpo_rule:train" not in code["capo"]


def test_tables_and_plumbing_are_in_no_identity() -> None:
    for method in METHODS.names():
        names = code_of(config({**BASE, "method": method}))
        assert not {"trainers.methods:METHODS", "trainers.credit.votes:VOTES", "evals.metrics:METRICS"} & names
        assert not {name for name in names if name.partition(":")[0] in plumbing.APART}


def test_a_method_counts_what_it_builds_on_and_no_method_counts_what_is_anothers_alone() -> None:
    code = {method: code_of(config({**BASE, "method": method})) for method in METHODS.names()}
    assert {"trainers.credit.first_error:charge_from_first_error", "trainers.capo:CapoTrainer"} <= code["first_error"]
    users = {}
    for method in METHODS.names():
        for target in (METHODS.get(method).train, METHODS.get(method).credit):
            users.setdefault(target, set()).add(method)
    users.pop(None)
    # CAPO's own charge is what others build on; the sum of scores and their minimum share nothing but that.
    assert "trainers.credit.capo:capo" not in code["spread"]
    for name, methods in users.items():
        assert {each for each, names in code.items() if name in names} == methods


def test_without_a_cold_start_its_code_does_not_matter() -> None:
    assert "trainers.cold_start:train_cold_start" not in code_of(config(cold_start=None))


# -- the cold start


def test_a_cold_start_is_shared_by_all_that_begin_alike() -> None:
    others = {name: value for name, value in CHANGED.items() if not name.startswith(("cold_start", "backbone"))}
    assert {hash_cold_start(config(**{name: value})) for name, value in others.items()} == {hash_cold_start(config())}


@pytest.mark.parametrize("changed", [name for name in CHANGED if name.startswith(("cold_start.", "backbone"))])
def test_what_decides_a_cold_start(changed: str) -> None:
    assert hash_cold_start(config(**{changed: CHANGED[changed]})) != hash_cold_start(config())


def test_no_cold_start_no_key() -> None:
    assert hash_cold_start(config(cold_start=None)) is None


# -- order, names and the rest do not matter

STUDY: dict[str, Any] = {
    "name": "demo",
    "question": "?",
    "baseline": "rule",
    "base": {"method": "capo", "critic": {"name": "noisy", "miss": 0.1}, "credit": {"critiques": 2}},
    "matrix": {"credit.vote": ["union", "majority"], "train.steps": [3, 4]},
    "include": [{"name": "rule", "set": {"method": "grpo_rule", "train.kl": 0.1}}],
    "seeds": [0, 1],
}


def plan_of(tree: dict[str, Any]) -> Plan:
    document = parse_document(yaml.safe_dump(tree, sort_keys=False), "s.yaml")
    study, errors = parse_study(document)
    assert study is not None
    return StudyFile(document, study, errors).plan("quick")


def shuffled(tree: Any, rng: random.Random, lists: bool) -> Any:
    """The same tree with keys, and on request the items of lists, in another order."""
    if isinstance(tree, dict):
        return {name: shuffled(tree[name], rng, lists) for name in rng.sample(list(tree), len(tree))}
    if isinstance(tree, list):
        items = [shuffled(item, rng, lists) for item in tree]
        return rng.sample(items, len(items)) if lists else items
    return tree


def by_id(plan: Plan) -> Iterator[tuple[str, int]]:
    return ((trial.id, trial.seed) for trial in plan.trials)


@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(rng: random.Random) -> None:
    assert sorted(by_id(plan_of(shuffled(STUDY, rng, lists=False)))) == sorted(by_id(plan_of(STUDY)))


@given(st.randoms(use_true_random=False))
def test_the_order_in_the_file_does_not_matter(rng: random.Random) -> None:
    assert sorted(by_id(plan_of(shuffled(STUDY, rng, lists=True)))) == sorted(by_id(plan_of(STUDY)))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"question": "!"},
        {"metrics": ["coins_longer/steps"]},
        {"start": "rule"},
        {"profiles": {"full": {"seeds": [7]}}},
    ],
)
def test_names_and_what_is_reported_do_not_matter(change: dict[str, Any]) -> None:
    assert list(by_id(plan_of({**STUDY, **change}))) == list(by_id(plan_of(STUDY)))


def test_a_trial_is_the_same_in_every_study() -> None:
    alone = {
        **STUDY,
        "matrix": {},
        "seeds": [1, 5],
        "include": [{"name": "r", "set": {"method": "grpo_rule", "train.kl": 0.1}}],
    }
    alone["baseline"] = "r"
    assert {*by_id(plan_of(alone))} & {*by_id(plan_of(STUDY))} == {
        (trial.id, 1) for trial in plan_of(STUDY).trials if trial.variant == "rule" and trial.seed == 1
    }


def test_the_path_of_the_file_does_not_matter(write: Callable[[str], str], demo: str, tmp_path: Any) -> None:
    here = load_plan(write(demo))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.yaml").write_text(demo)
    assert list(by_id(load_plan(tmp_path / "elsewhere" / "x.yaml"))) == list(by_id(here))


def test_seeds_decide_and_ids_are_unique() -> None:
    plan = plan_of(STUDY)
    assert len({trial.id for trial in plan.trials}) == len(plan.trials) == 10
    assert all(len(trial.id) == 12 and trial.identity["seed"] == trial.seed for trial in plan.trials)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.randoms(use_true_random=False))
def test_a_digest_does_not_see_the_order_of_keys(tree: dict[str, Any], rng: random.Random) -> None:
    assert hash_plain(shuffled(tree, rng, lists=False)) == hash_plain(tree)


def test_a_digest_is_the_beginning_of_the_sha256_of_canonical_json() -> None:
    # printf '{"a":1,"b":[true,null]}' | sha256sum
    assert hash_plain({"b": [True, None], "a": 1}) == "1cc69c7fa236"


# -- trials travel


def test_a_trial_survives_pickle_and_json() -> None:
    for trial in plan_of(STUDY).trials:
        assert pickle.loads(pickle.dumps(trial)) == trial
        assert Trial.from_json(trial.as_json()) == trial


def test_local_data_of_a_task_is_known_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    def measured_on(data: Path) -> str:
        return key(TrialConfig.model_validate({"evaluation": {"tasks": ["math500"], "data_dir": str(data)}}))

    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name / "math500").mkdir(parents=True)
        (tmp_path / name / "math500" / "test.jsonl").write_text(text)
    assert measured_on(tmp_path / "a") == measured_on(tmp_path / "b") != measured_on(tmp_path / "c")
    hub = key(TrialConfig.model_validate({"evaluation": {"tasks": ["math500"]}}))
    assert hub != measured_on(tmp_path / "a")


def test_a_suite_is_its_tasks() -> None:
    tasks = ["coins_test", "coins_longer", "coins_distractors", "coins_unseen"]
    suite, named = (TrialConfig.model_validate({"evaluation": {"tasks": one}}) for one in (["coins"], tasks))
    assert key(suite) == key(named)
