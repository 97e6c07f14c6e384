"""One command trains CAPO through a critic that the harness teaches and serves itself, with vLLM on the CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.rollouts import read_rollouts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (tox -e vllm)"),
]

STUDY = """
name: served
question: Does a trial learn from a critic that the run serves?
baseline: capo
metrics: [coins_test/accuracy]
base:
  cold_start: {steps: 12, problems_per_step: 16}
  train: {steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  credit: {critiques: 4, vote: majority, max_abstained: 1.0}
  critic:
    name: openai
    model: embedded
    embedded: {steps: 100, problems_per_step: 32}
    max_tokens: 128
    serve: {gpus: 0, gpu_memory_utilization: 0.4, dtype: float32, enforce_eager: true}
  evaluation: {tasks: [coins_test], problems: 8, max_completion_tokens: 40}
include: [{name: capo, set: {method: capo}}]
seeds: [0]
"""


def test_one_command_trains_through_a_critic_that_it_serves(tmp_path: Path) -> None:
    (tmp_path / "served.yaml").write_text(STUDY)
    done = subprocess.run(
        [sys.executable, "-m", "capo_bench", "run", "served.yaml", "--home", "home", "--workers", "1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (port,) = re.findall(r"the server of critic 'embedded' is ready at http://127\.0\.0\.1:(\d+)/v1", done.stderr)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0
    (trial,) = (path.parent for path in tmp_path.glob("home/stages/training/*/rollouts"))
    rollouts = [rollout for step in read_rollouts(trial / "rollouts") for rollout in step.rollouts]
    critiques = [critique for rollout in rollouts for critique in rollout.critiques]
    assert len(critiques) == 2 * 2 * 4 * 4
    assert not {critique.abstained for critique in critiques} & {"timeout", "error"}
    assert any(critique.wrong is not None for critique in critiques)
    steps = [json.loads(line) for line in (trial / "steps.jsonl").read_text().splitlines()]
    assert all(step["critic_cached_tokens"] >= 0 and step["critic_output_tokens"] > 0 for step in steps)
