"""The `openai` critic against vLLM's own server: k in one request, every fault before it, and CAPO through it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fault_proxy
import pytest
from chat_server import serving
from fault_proxy import FaultProxy
from vllm_server import NAME, embedded_critic, serving_vllm

from capo_bench.store.home import TrialFolder
from evals.coins import COINS
from evals.models.base import Completion, Model, Sampling
from evals.models.open import open_model
from evals.models.spec import read_spec
from trainers.credit.prompt import critique_prompt
from trainers.critics import CRITICS
from trainers.critics.base import Solution, Surroundings
from trainers.rollouts import read_rollouts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (tox -e vllm)"),
]

STEPS = ("She has 3 and finds 4: 3 + 4 = 7", "She spends 2: 7 - 2 = 6", "So she has 6")
PROBLEMS = COINS.problems("test", 6)
PROMPTS = [critique_prompt(problem.prompt, STEPS) for problem in PROBLEMS]
SOLUTIONS = [Solution(problem, STEPS) for problem in PROBLEMS]
TOKENS = 24
SAMPLED, GREEDY = Sampling(1.0, 1.0, TOKENS), Sampling(0.0, 1.0, TOKENS)
WHOLE = 128
"""Tokens of the longest whole critique."""
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the critic that is served."""
    return embedded_critic(tmp_path_factory.mktemp("critic"))


@pytest.fixture(scope="module")
def url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serving_vllm(model, log) as url:
        yield url
    place = urlsplit(url)
    with socket.socket() as probe:
        assert probe.connect_ex((place.hostname, place.port)) != 0


def ask(
    model: Model, n: int, prompts: list[str] = PROMPTS, sampling: Sampling = SAMPLED, first: int = 0
) -> list[list[Completion]]:
    """Ask for one batch and close."""

    async def batch() -> list[list[Completion]]:
        try:
            return await model.complete(prompts, n, sampling, seed=0, first=first)
        finally:
            await model.close()

    return asyncio.run(batch())


def endpoint(url: str, **changes: Any) -> Model:
    given = {"model": NAME, "backend": "openai", "base_url": url, "template": "message", **changes}
    return open_model(read_spec(**given))


def texts(rows: list[list[Completion]]) -> list[list[str]]:
    return [[completion.text for completion in row] for row in rows]


def failed(rows: list[list[Completion]]) -> list[list[bool]]:
    return [[completion.failed for completion in row] for row in rows]


@pytest.fixture(scope="module")
def known(url: str) -> list[list[str]]:
    """What the server says to the prompts, eight times each."""
    return texts(ask(endpoint(url), 8))


def test_a_server_that_answers_can_be_asked(url: str) -> None:
    endpoint(url).check(PROMPTS, SAMPLED)


def test_eight_completions_are_one_request_and_differ(url: str) -> None:
    with serving(FaultProxy(url)) as proxy:
        rows = ask(endpoint(proxy.url), 8)
        assert proxy.seen == len(PROMPTS)
    assert [len(row) for row in rows] == [8] * len(PROMPTS)
    assert failed(rows) == [[False] * 8] * len(PROMPTS)
    assert any(len(set(row)) > 1 for row in texts(rows))


def test_the_cost_is_the_servers_count(url: str, model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    # Longer than a block of the prefix cache, which is 128 tokens on a CPU.
    prompt = critique_prompt(PROBLEMS[0].prompt, STEPS * 6)
    (row,) = ask(endpoint(url), 8, [prompt])
    assert sum(each.usage.prompt_tokens for each in row) == len(tokenizer(prompt).input_ids)
    assert 8 < sum(each.usage.output_tokens for each in row) <= 8 * TOKENS
    # Asked before: read from the prefix cache, whole blocks of it.
    ((again,),) = ask(endpoint(url), 1, [prompt])
    assert 0 < again.usage.cached_tokens <= again.usage.prompt_tokens


def test_a_completion_does_not_depend_on_how_it_is_asked_for(url: str, known: list[list[str]]) -> None:
    singly = [texts(ask(endpoint(url), 1, first=place)) for place in (0, 3, 7)]
    assert [[row[0] for row in rows] for rows in singly] == [[row[place] for row in known] for place in (0, 3, 7)]


def test_greedy_completions_are_the_same_each_time(url: str) -> None:
    first, second = (texts(ask(endpoint(url), 1, sampling=GREEDY)) for _ in range(2))
    assert first == second
    assert all(text for (text,) in first)


def test_a_prompt_that_does_not_fit_fails_alone_with_the_servers_reason(url: str, caplog: Any) -> None:
    rows = ask(endpoint(url), 2, [PROMPTS[0], "coins " * 2000])
    assert failed(rows) == [[False] * 2, [True] * 2]
    assert "maximum context length" in caplog.text


def test_a_model_that_is_not_served_is_told(url: str, caplog: Any) -> None:
    assert failed(ask(endpoint(url, model="another"), 1, PROMPTS[:1])) == [[True]]
    assert "is model 'another' served there" in caplog.text


PASSING = {
    "429 with Retry-After": fault_proxy.status(429, retry_after=0.1),
    "500": fault_proxy.status(500),
    "hang": fault_proxy.hang,
    "reset in mid-stream": fault_proxy.reset,
    "half a JSON": fault_proxy.half_json,
    "no choices": fault_proxy.empty_choices,
    "wrong n": fault_proxy.one_choice,
    "too many": fault_proxy.twice_the_choices,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_before_the_server_loses_nothing(url: str, known: list[list[str]], fault: Any) -> None:
    with serving(FaultProxy(url, [fault, None, fault])) as proxy:
        assert texts(ask(endpoint(proxy.url, deadline_seconds=10.0), 8)) == known


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_lasting_fault_abstains_in_bounded_time(url: str, known: list[list[str]], fault: Any) -> None:
    """A wrong n is no failure: what is missing is asked for, what is too much is left."""
    began = time.perf_counter()
    with serving(FaultProxy(url, rest=fault)) as proxy:
        given = {"name": "openai", "model": NAME, "base_url": proxy.url, "max_tokens": TOKENS}
        params = CRITICS.get("openai").model_validate({**given, "max_retries": 1, "deadline_seconds": 4.0})
        critic = params.build(Surroundings(COINS, 0))
        answers = asyncio.run(_critiques(critic))
    assert time.perf_counter() - began < 10
    assert [len(row) for row in answers] == [8] * len(SOLUTIONS)
    if fault in (fault_proxy.one_choice, fault_proxy.twice_the_choices):
        assert [[critique.text for critique in row] for row in answers] == known
    else:
        assert {critique.wrong for row in answers for critique in row} == {None}
        assert {critique.abstained for row in answers for critique in row} <= {"timeout", "error"}


async def _critiques(critic: Any) -> Any:
    try:
        return await critic.critique(SOLUTIONS, 8)
    finally:
        await critic.close()


LOCAL = """
    import asyncio, json, sys
    from evals.models.base import Sampling
    from evals.models.open import open_model
    from evals.models.spec import read_spec

    async def main():
        asked = json.load(sys.stdin)
        model = open_model(read_spec(**asked["spec"]))
        prompts = [model.prompt(prompt) for prompt in asked["prompts"]]
        rows = await model.complete(prompts, 1, Sampling(0.0, 1.0, asked["max_tokens"]), seed=0)
        await model.close()
        print(json.dumps([[completion.text for completion in row] for row in rows]))

    if __name__ == "__main__":  # vLLM's engine is another process, which imports this file
        asyncio.run(main())
"""


@pytest.mark.parametrize(("backend", "options"), [("hf", {}), ("vllm", {"enforce_eager": True})])
def test_greedy_completions_are_those_of_the_model_in_process(
    url: str, model: Path, tmp_path: Path, backend: str, options: dict[str, Any]
) -> None:
    script = tmp_path / "local.py"
    script.write_text(textwrap.dedent(LOCAL))
    spec = {"model": str(model), "backend": backend, "template": "message", **options}
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps({"spec": spec, "prompts": PROMPTS, "max_tokens": TOKENS}),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=ROOT,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == texts(ask(endpoint(url), 1, sampling=GREEDY))


STUDY = """
name: served
question: Does a trial go the same way through a server, through vLLM in process and through Transformers?
baseline: transformers
metrics: [coins_test/accuracy]
base:
  method: capo
  cold_start: {{steps: 12, problems_per_step: 16}}
  train: {{steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}}
  credit: {{critiques: 1, vote: greedy, max_abstained: 1.0}}
  evaluation: {{tasks: [coins_test], problems: 8, max_completion_tokens: 40}}
include:
  - {{name: openai, set: {{critic: {{name: openai, model: {name}, base_url: "{url}", max_tokens: {tokens}}}}}}}
  - {{name: vllm, set: {{critic: {{name: vllm, model: "{folder}", enforce_eager: true, max_tokens: {tokens}}}}}}}
  - {{name: transformers, set: {{critic: {{name: transformers, model: "{folder}", max_tokens: {tokens}}}}}}}
  - name: sampled
    set:
      critic: {{name: openai, model: {name}, base_url: "{url}", max_tokens: {tokens}}}
      credit.critiques: 4
      credit.vote: majority
seeds: [0]
"""


@pytest.fixture(scope="module")
def trials(url: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run a trial of CAPO through each backend, and one with votes through the server; return their folders."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "served.yaml").write_text(STUDY.format(name=NAME, url=url, folder=model, tokens=WHOLE))
    ours = {**os.environ, "OPENAI_API_KEY": "sk-s3cret", "VLLM_CPU_KVCACHE_SPACE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "capo_bench", "run", "served.yaml", "--home", "home", "--workers", "1"],
        cwd=folder, capture_output=True, text=True, timeout=900, check=False, env=ours,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"sk-s3cret" in path.read_bytes()] == []
    found = folder.glob("home/trials/*/config.json")
    return {json.loads(path.read_text())["variant"]: path.parent for path in found}


def test_at_temperature_zero_a_trial_hears_the_same_verdicts_through_every_backend(trials: dict[str, Path]) -> None:
    heard = {}
    for name in ("openai", "vllm", "transformers"):
        rollouts = [rollout for step in read_rollouts(TrialFolder(trials[name]).rollouts) for rollout in step.rollouts]
        assert len(rollouts) == 2 * 2 * 4
        heard[name] = [
            (rollout.steps, [(critique.wrong, critique.abstained, critique.text) for critique in rollout.critiques])
            for rollout in rollouts
        ]
    assert heard["openai"] == heard["transformers"]
    assert heard["vllm"] == heard["transformers"]
    metrics = [json.loads((trials[name] / "metrics.json").read_text())["metrics"] for name in heard]
    assert metrics[0] == metrics[1] == metrics[2]


def test_votes_through_the_server_cost_tokens_and_say_something(trials: dict[str, Path]) -> None:
    steps = [json.loads(line) for line in TrialFolder(trials["sampled"]).steps.read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2]
    assert all(step["critiques"] == 2 * 4 * 4 for step in steps)
    assert all(step["critic_tokens"] > 0 for step in steps)
    # It has been taught for some seconds, on better solutions than these: some of what it says is a verdict.
    assert all(step["abstained"] < step["critiques"] for step in steps)
