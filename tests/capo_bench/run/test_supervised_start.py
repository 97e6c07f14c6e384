"""The paper's pipeline on a backbone of a folder: supervised training on named demonstrations, then reinforcement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from capo_bench.run import stages
from capo_bench.run.executor import Attempt
from capo_bench.store.home import Home, read_json
from capo_bench.study import identity
from capo_bench.study.identity import add_seed, hash_cold_start, hash_plain, identify_trial, make_trial_id
from capo_bench.study.plan import Trial
from evals.fingerprint import fingerprint_adapter, fingerprint_weights
from trainers.backbones import BACKBONES, OWN_FOLDER
from trainers.backbones.tiny import build_model, build_tokenizer, save
from trainers.config import TrialConfig

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROWS = [
    {"question": f"What is {n} + {n}?", "solution": f"{n} + {n} = {2 * n}\n\n\\boxed{{{2 * n}}}"} for n in range(40)
]
PROBLEMS = [{"question": row["question"], "answer": str(2 * n)} for n, row in enumerate(ROWS)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An untrained model with the files of a hub repository, and rows to train and to measure on."""
    torch.set_num_threads(1)
    repository, yaml = tmp_path / "repository", tmp_path / "backbones"
    tokenizer = build_tokenizer(text for row in ROWS for text in row.values())
    tokenizer.chat_template = CHAT
    save(build_model(BACKBONES.load("tiny"), tokenizer, seed=0), tokenizer, repository)
    yaml.mkdir()
    (yaml / "local.yaml").write_text(f"source: hub\nmodel: {repository}\ntemplate: chat\n")
    held = "dtype: bfloat16\nprecision: bfloat16\nlora: {rank: 4, alpha: 8}\n"
    (yaml / "adapted.yaml").write_text(f"source: hub\nmodel: {repository}\ntemplate: chat\n{held}")
    monkeypatch.setenv(OWN_FOLDER, str(yaml))  # which the processes that train see as well
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    identity._identify_backbone.cache_clear()
    for name, rows in (("sft.jsonl", ROWS), ("train.jsonl", PROBLEMS), ("test.jsonl", PROBLEMS[:3])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def make_trial(folder: Path, **changes: Any) -> Trial:
    shown = {"file": str(folder / "sft.jsonl"), "prompt": "question", "completion": "solution"}
    settings = {
        "method": "grpo_rule",
        "backbone": "local",
        "benchmark": {"file": str(folder / "train.jsonl")},
        "cold_start": {"demonstrations": shown, "steps": 15, "problems_per_step": 8, "learning_rate": 1e-2},
        "train": {"steps": 1, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 12},
        "evaluation": {
            "tasks": ["mine"],
            "rows": {"mine": {"file": str(folder / "test.jsonl")}},
            "problems": None,
            "max_completion_tokens": 12,
        },
    }
    config = TrialConfig.model_validate({**settings, **changes})
    parts = identify_trial(config)
    return Trial(make_trial_id(hash_plain(parts), 0), "v", 0, config, add_seed(parts, 0))


def run(trial: Trial, home: Home) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    assert stages.run_trial(trial, home, events.append, lambda: False, Attempt())
    return events


@pytest.mark.nightly
def test_reinforcement_starts_from_the_supervised_model_and_base_from_the_untouched_one(folder: Path) -> None:
    home = Home(folder / "home")
    trials = {method: make_trial(folder, method=method) for method in ("grpo_rule", "sft", "base")}
    events = {method: run(trial, home) for method, trial in trials.items()}
    (start,) = (home.path / "stages" / "cold_start").glob("[!.]*")
    assert start.name == hash_cold_start(trials["sft"].config)
    losses = [event["metrics"]["loss"] for event in events["grpo_rule"] if event["kind"] == "preparing"]
    assert len(losses) == 15
    assert losses[-1] < losses[0] - 1
    weights = {method: read_json(home.trial(trial.id).provenance)["fingerprints"] for method, trial in trials.items()}
    supervised, untouched = fingerprint_weights(start), fingerprint_weights(folder / "repository")
    assert supervised != untouched
    assert [weights[method]["start_weights"] for method in trials] == [supervised, supervised, untouched]
    assert weights["grpo_rule"]["final_weights"] is not None
    cost = read_json(start / "cold_start.json")["cost"]
    assert cost["demonstrations"] == 15 * 8
    assert cost["tokens"] > 0
    # The three problems of the evaluation are among the training rows, word by word.
    folder_of_it = home.trial(trials["grpo_rule"].id)
    told = read_json(folder_of_it.provenance)["contamination"]
    assert [(one["rows"], one["trained"], one["problems"], one["shared"]) for one in told] == [
        ("benchmark rows", 40, 3, 3),
        ("demonstrations rows", 40, 3, 3),
    ]
    assert "mine/accuracy" in read_json(folder_of_it.metrics)["metrics"]


@pytest.mark.nightly
def test_adapters_learn_from_demonstrations_and_then_by_reinforcement(folder: Path) -> None:
    home, trial = Home(folder / "home"), make_trial(folder, backbone="adapted")
    run(trial, home)
    (start,) = (home.path / "stages" / "cold_start").glob("[!.]*")
    trained, repository = home.trial(trial.id).model, str(folder / "repository")
    for adapter in (start, trained):
        assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == repository
        assert not (adapter / "model.safetensors").exists()
    cost = read_json(start / "cold_start.json")["cost"]
    whole = load_file(folder / "repository" / "model.safetensors")
    assert cost["parameters"] == sum(weight.numel() for weight in whole.values())
    assert cost["train_flops"] == 6 * cost["parameters"] * cost["tokens"]
    weights = read_json(home.trial(trial.id).provenance)["fingerprints"]
    assert (weights["start_weights"], weights["final_weights"]) == tuple(map(fingerprint_adapter, (start, trained)))


def test_rows_are_a_trials_by_their_content_and_not_by_their_place(folder: Path) -> None:
    before, key = make_trial(folder), hash_cold_start(make_trial(folder).config)
    for name in ("train.jsonl", "test.jsonl", "sft.jsonl"):
        (folder / "elsewhere").mkdir(exist_ok=True)
        (folder / "elsewhere" / name).write_text((folder / name).read_text())
    assert make_trial(folder / "elsewhere").id == before.id
    assert str(folder) not in json.dumps(before.identity)
    for name, more in (
        ("test.jsonl", {"question": "What is 9 + 1?", "answer": "10"}),
        ("train.jsonl", {"question": "What is 9 + 1?", "answer": "10"}),
        ("sft.jsonl", {"question": "What is 9 + 1?", "solution": "\\boxed{10}"}),
    ):
        last = make_trial(folder)
        assert hash_cold_start(last.config) == key
        with (folder / name).open("a") as file:
            file.write(json.dumps(more) + "\n")
        assert make_trial(folder).id != last.id
    assert hash_cold_start(make_trial(folder).config) != key
