"""A real language model all the way: evaluated, trained, killed and resumed, reported, viewed, bundled and verified.

The model is SmolLM2-135M-Instruct (`smollm2`): by default its first layers under the real tokenizer, for the mechanics;
with CAPO_BENCH_WHOLE_MODEL=1 (`tox -e real`) all of it, which also answers. Problems are real rows of GSM8K, ARC and
MMLU-Pro. Everything goes through the command line and the files that it leaves.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_server import MODEL, ChatServer, serving
from safetensors.torch import load_file

from capo_bench.store.home import Home, TrialFolder

WHOLE = bool(os.environ.get("CAPO_BENCH_WHOLE_MODEL"))
ROWS, TOKENS = (4, 96) if WHOLE else (2, 16)
TASKS = ("gsm8k", "mmlu_pro", "arc_challenge_ll")
FILES = {
    "gsm8k/train.jsonl": 64,
    "gsm8k/test.jsonl": ROWS,
    "mmlu_pro/test.jsonl": ROWS,
    "arc_challenge/test.hf_schema.jsonl": ROWS,
}
"""The benchmarks' files, and how many of their rows are taken."""
STEPS, CRITIQUES = 2, 2
PROMPTS, GROUP = (2, 4) if WHOLE else (1, 2)
TAUGHT, LESSONS, LONGEST = (8, 8, 768) if WHOLE else (1, 2, 768)
"""Steps of the supervised start, demonstrations of each (64 of GSM8K's solutions in all), and the longest of them."""
OPENING = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
INSTRUCTION = (
    "Solve the problem step by step. Separate the steps with blank lines. "
    "Put the final answer, and nothing else, in \\boxed{} in the last step.\n\n"
)
pytestmark = pytest.mark.slow

BACKBONE = """
source: hub
model: {model}
template: chat
"""
STUDY = """
name: real
question: Does step credit train a real language model?
baseline: method=grpo_rule,backbone=all_weights
metrics: [gsm8k/accuracy, gsm8k/truncated]
base:
  benchmark: gsm8k
  cold_start: {{demonstrations: gsm8k, steps: {taught}, problems_per_step: {lessons}, max_tokens: {longest}}}
  critic: {{name: openai, model: {critic}, base_url: "{url}"}}
  credit: {{critiques: {critiques}, vote: majority}}
  train:
    {{steps: {steps}, prompts_per_step: {prompts}, group_size: {group}, max_completion_tokens: {tokens},
      learning_rate: 1.0e-5}}
  evaluation: {{tasks: [gsm8k], problems: {rows}, max_completion_tokens: {tokens}, data_dir: "{data}"}}
{variants}
seeds: [0]
"""
PAIRED = """include:
  - {name: "method=grpo_rule,backbone=all_weights", set: {method: grpo_rule, backbone: all_weights}}
  - {name: "method=capo,backbone=adapters", set: {method: capo, backbone: adapters}}"""
CROSSED = """within: [backbone]
matrix:
  method: [capo, grpo_rule]
  backbone: [all_weights, adapters]"""
TRIALS = {("grpo_rule", "all_weights"), ("capo", "adapters")}
"""Each method and each kind of weights once; with the whole model, every pair of them."""
if WHOLE:
    TRIALS |= {("grpo_rule", "adapters"), ("capo", "all_weights")}


def critique(prompt: str, seed: int | None) -> str:
    """Return an analysis of the steps that the prompt shows, and a list of some of them, drawn for prompt and seed."""
    shown = [int(number) for number in re.findall(r"^\[(\d+)\]$", prompt, re.MULTILINE)]
    draw = random.Random(f"{prompt}|{seed}")
    wrong = [number for number in shown if draw.random() < 0.5]
    return f"There are {len(shown)} steps.\n\nWrong steps: {wrong}"


class Folder:
    """A folder in which commands run, with the environment that they run in."""

    def __init__(self, path: Path, data: Path) -> None:
        self.path = path
        self.environment = {
            **os.environ,
            "CAPO_BENCH_BACKBONES": str(path / "backbones"),
            "CAPO_BENCH_DATA": str(data),
            "CAPO_BENCH_HOME": str(path / "home"),
            "HF_HUB_OFFLINE": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "capo_bench", *arguments],
            cwd=self.path, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def do(self, *arguments: str, expect: int = 0) -> str:
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=7200)
        assert process.returncode == expect, out
        return out

    def start_of(self, trial: Path) -> Path:
        """Return the folder of the supervised model that a trial began with."""
        key = json.loads((trial / "provenance.json").read_text())["fingerprints"]["cold_start"]
        return self.path / "home" / "stages" / "cold_start" / str(key)

    def trials(self) -> dict[tuple[str, str], Path]:
        """Return the folders of the finished trials by method and backbone."""
        found = {}
        for path in (self.path / "home" / "trials").glob("*/metrics.json"):
            config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["config"]
            found[config["method"], config["backbone"]] = path.parent
        return found


def lines(path: Path) -> list[dict[str, Any]]:
    read = path.read_bytes()
    text = gzip.decompress(read) if path.suffix == ".gz" else read
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def data(benchmark_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the first rows of the benchmarks' files."""
    path = tmp_path_factory.mktemp("data")
    for name, count in FILES.items():
        (path / name).parent.mkdir(exist_ok=True)
        with (benchmark_data / name).open(encoding="utf-8") as rows:
            (path / name).write_text("".join(islice(rows, count)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(smollm2: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("real")
    (path / "backbones").mkdir()
    backbone = BACKBONE.format(model=smollm2)
    (path / "backbones" / "all_weights.yaml").write_text(backbone, encoding="utf-8")
    adapters = backbone + "lora: {rank: 8, alpha: 16}\n"
    (path / "backbones" / "adapters.yaml").write_text(adapters, encoding="utf-8")
    return Folder(path, data)


@pytest.fixture(scope="module")
def evaluated(folder: Folder, smollm2: Path, data: Path) -> Path:
    """Folder of an evaluation's tasks."""
    tasks = [word for task in TASKS for word in ("--task", task)]
    sizes = ("--max-tokens", str(TOKENS), "--batch-size", "4")
    out = folder.do("eval", str(smollm2), *tasks, *sizes, "--data-dir", str(data), "--no-tracking")
    assert "accuracy" in out
    (tasks_folder,) = (folder.path / "home" / "evals").glob("*/tasks")
    return tasks_folder


def test_the_model_reads_each_problem_once_in_its_own_template(evaluated: Path, smollm2: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    for task in ("gsm8k", "mmlu_pro"):
        asked = json.loads((evaluated / task / "task.json").read_text(encoding="utf-8"))["asked"]
        assert len(asked) == ROWS
        for row in asked:
            assert row["prompt"] == OPENING.format(INSTRUCTION + row["problem"]["prompt"])
            ids = tokenizer(row["prompt"])["input_ids"]
            assert ids.count(tokenizer.bos_token_id) == 3, "the system's turn, the user's and the one to be written"
            assert ids.count(tokenizer.eos_token_id) == 2
    assert "\nA. " in asked[0]["prompt"], "the options of a choice are shown"


def test_a_completion_is_the_models_turn_and_nothing_else(evaluated: Path) -> None:
    for task in ("gsm8k", "mmlu_pro"):
        samples = lines(evaluated / task / "samples.jsonl")
        assert len(samples) == ROWS
        for sample in samples:
            assert "<|" not in sample["completion"]
            assert sample["truncated"] == (sample["tokens"] == TOKENS)


@pytest.mark.skipif(not WHOLE, reason="the first layers say nothing (tox -e real)")
def test_the_whole_model_answers_in_english(evaluated: Path) -> None:
    for sample in lines(evaluated / "gsm8k" / "samples.jsonl"):
        words = re.findall(r"[a-z]+", sample["completion"].lower())
        assert len({"the", "of", "is", "to", "a", "in"} & {*words}) >= 2, sample["completion"]


def test_log_likelihoods_are_those_of_stock_lm_eval(evaluated: Path, smollm2: Path, data: Path) -> None:
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from evals.tasks import FOLDER

    metadata = {"data_dir": str(data)}
    done = lm_eval.simple_evaluate(
        model=HFLM(str(smollm2), device="cpu", dtype="bfloat16", batch_size=4),
        tasks=["capo_arc_challenge_ll"],
        task_manager=TaskManager(include_path=str(FOLDER), include_defaults=False, metadata=metadata),
        bootstrap_iters=0,
    )
    theirs = [[logprob for logprob, _ in row["filtered_resps"]] for row in done["samples"]["capo_arc_challenge_ll"]]
    ours = [row["ranking"]["logprobs"] for row in lines(evaluated / "arc_challenge_ll" / "generations.jsonl")]
    assert sorted(ours) == sorted(theirs)


@pytest.fixture(scope="module")
def trained(folder: Folder, data: Path) -> Iterator[Folder]:
    """The folder after the study has run, was killed between the steps of its first trial, and has run again."""
    with serving(ChatServer(critique)) as critic:
        sizes = {"critiques": CRITIQUES, "steps": STEPS, "prompts": PROMPTS, "group": GROUP}
        sizes |= {"taught": TAUGHT, "lessons": LESSONS, "longest": LONGEST}
        names = {"critic": MODEL, "url": critic.url, "data": data}
        sizes |= {"variants": CROSSED if WHOLE else PAIRED}
        text = STUDY.format(**sizes, **names, rows=ROWS, tokens=TOKENS)
        (folder.path / "real.yaml").write_text(text, encoding="utf-8")
        command = ("run", "real.yaml", "--workers", "1", "--checkpoint-every", "0", "--no-tracking")
        first = folder.start(*command)
        ended = time.monotonic() + 7200
        while not (marks := [*folder.path.glob("home/trials/*/training/checkpoints/resume.json")]):
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < ended
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        assert first.returncode == -signal.SIGKILL
        (mark,) = marks
        before = lines(mark.parents[1] / "steps.jsonl")
        (folder.path / "killed.json").write_text(json.dumps([mark.parents[2].name, before]), encoding="utf-8")
        folder.do(*command)
        folder.asked = critic.requests
        yield folder


def test_every_trial_trained_both_steps_the_killed_one_each_of_them_once(trained: Folder) -> None:
    assert trained.trials().keys() == TRIALS
    for trial in trained.trials().values():
        assert [step["step"] for step in lines(TrialFolder(trial).steps)] == [1, 2]
    name, before = json.loads((trained.path / "killed.json").read_text(encoding="utf-8"))
    assert lines(Home(trained.path / "home").trial(name).steps)[: len(before)] == before


def test_rollouts_are_the_models_turn_cut_into_steps_that_the_critic_judged(trained: Folder) -> None:
    for (method, _), trial in trained.trials().items():
        rollouts = [rollout for path in sorted(TrialFolder(trial).rollouts.glob("*.gz")) for rollout in lines(path)]
        assert len(rollouts) == STEPS * PROMPTS * GROUP
        for rollout in rollouts:
            assert "<|im" not in "".join(rollout["pieces"])
            assert len(rollout["pieces"]) == sum(rollout["tokens"]) <= TOKENS
            assert len(rollout["critiques"]) == (CRITIQUES if method == "capo" else 0)
            assert all(critique["wrong"] is not None for critique in rollout["critiques"])


def test_reinforcement_goes_on_from_the_supervised_model_and_keeps_what_it_trained(
    trained: Folder, smollm2: Path
) -> None:
    untouched = load_file(smollm2 / "model.safetensors")
    for (_, backbone), trial in trained.trials().items():
        taught = trained.start_of(trial)
        name = "adapter_model.safetensors" if backbone == "adapters" else "model.safetensors"
        start, after = load_file(taught / name), load_file(TrialFolder(trial).model / name)
        if backbone == "adapters":
            assert all("_proj" in weight for weight in start), "embeddings and norms stay"
            # The second factor of an adapter begins at 0.
            assert any(factor.any() for weight, factor in start.items() if "lora_B" in weight)
        else:
            assert differ(untouched, start)
        assert json.loads((taught / "cold_start.json").read_text())["cost"]["demonstrations"] == TAUGHT * LESSONS
        signal_in = [step["grad_norm"] > 0 for step in lines(TrialFolder(trial).steps)]
        assert differ(start, after) == any(signal_in)


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return any(not torch.equal(one[name].float(), other[name].float()) for name in one)


def test_a_finished_study_is_reported_viewed_bundled_and_verified(trained: Folder) -> None:
    trained.do("report", "real.yaml")
    table = trained.path / "home" / "studies" / "real" / "profiles" / "quick" / "report" / "table.csv"
    variants = {row["variant"] for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())}
    assert variants == {f"method={method},backbone={backbone}" for method, backbone in trained.trials()}
    trained.do("view", "real.yaml", "--only", "method=capo,backbone=adapters", "--out", "page.html")
    assert " rollouts of 1 trials" in (trained.path / "page.html").read_text(encoding="utf-8")
    trained.do("bundle", "real.yaml", "--out", "real.tar.gz")
    # Without the weights there is no tokenizer to count lengths with: said by the exit code, and nothing differs.
    assert "differs:" not in trained.do("verify", "real.tar.gz", expect=3).lower()
