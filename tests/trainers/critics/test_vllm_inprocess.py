"""The same model in vLLM's engine and through Transformers; needs vLLM (tox -e vllm)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from evals.coins import COINS
from trainers.backbones.tiny import MAX_POSITIONS
from trainers.critics.transformers import TransformersBackend, TransformersParams

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed (pip install vllm)"),
]

PROMPTS = [problem.prompt for problem in COINS.problems("train", 12)]
LONG = " ".join(PROMPTS)
"""Several blocks of the engine's cache, which keeps whole blocks."""
TOO_LONG = "9 + " * MAX_POSITIONS
LONGEST = 40
"""Some solutions of coins end before that many tokens and some do not."""

# A process of its own: the engine claims the cores and the process's settings of torch.
SCRIPT = """
    import asyncio, json, multiprocessing, sys
    from dataclasses import asdict
    from trainers.critics.vllm import VllmBackend, VllmParams

    async def main(folder, longest, prompts, long, too_long):
        # No compilation: a minute for nothing here.
        backend = VllmBackend(VllmParams(max_tokens=int(longest), enforce_eager=True), folder)
        greedy = await backend.complete(prompts, 1, greedy=True)
        at_once = await backend.complete(prompts, 4)
        first = await backend.complete(prompts[:2], 2)
        rest = await backend.complete(prompts[:2], 2, first=2)
        mixed = await backend.complete([too_long, prompts[0]], 1, greedy=True)
        many = await backend.complete([f"{n} " + long for n in range(100)], 2)
        twice = [row for _ in range(2) for row in await backend.complete([long], 1)]
        running = children()
        await backend.close()
        left = children()
        late = await backend.complete(prompts[:1], 1)
        answers = dict(greedy=greedy, at_once=at_once, first=first, rest=rest)
        answers |= dict(mixed=mixed, many=many, twice=twice, late=late)
        told = {key: [[asdict(reply) for reply in row] for row in rows] for key, rows in answers.items()}
        print("told " + json.dumps({**told, "running": running, "left": left}))

    def children():
        return [process.name for process in multiprocessing.active_children()]

    if __name__ == "__main__":
        asyncio.run(main(*sys.argv[1:3], *json.loads(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def told(start, tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "ask.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, str(script), start, str(LONGEST), json.dumps([PROMPTS, LONG, TOO_LONG])],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    return json.loads(line.removeprefix("told "))


def texts(rows):
    return [[reply["text"] for reply in row] for row in rows]


def test_greedy_replies_are_those_of_transformers(told, start):
    backend = TransformersBackend(TransformersParams(max_tokens=LONGEST), start)
    same = asyncio.run(backend.complete(PROMPTS, 1, greedy=True))
    assert texts(told["greedy"]) == [[reply.text for reply in row] for row in same]
    told_cut = [[(reply["truncated"], reply["usage"]["output_tokens"]) for reply in row] for row in told["greedy"]]
    assert {cut for row in told_cut for cut, _ in row} == {True, False}
    assert told_cut == [[(reply.truncated, reply.usage.output_tokens) for reply in row] for row in same]


def test_replies_are_different_samples_and_parts_of_the_same_row(told):
    assert [len(set(row)) for row in texts(told["at_once"])] == [4] * len(PROMPTS)
    parts = zip(texts(told["first"]), texts(told["rest"]), strict=True)
    assert [first + rest for first, rest in parts] == texts(told["at_once"])[:2]


def test_usage_adds_up_and_knows_what_was_kept(told, start):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(start)
    for prompt, row in zip(PROMPTS, told["at_once"], strict=True):
        usages = [reply["usage"] for reply in row]
        assert [usage["prompt_tokens"] for usage in usages] == [len(tokenizer(prompt)["input_ids"]), 0, 0, 0]
        assert all(usage["seconds"] > 0 and usage["output_tokens"] > 0 for usage in usages)
    first, second = (row[0]["usage"] for row in told["twice"])
    assert first["cached_tokens"] == 0
    assert second["prompt_tokens"] / 2 < second["cached_tokens"] < second["prompt_tokens"]


def test_a_prompt_without_room_fails_and_the_others_do_not(told):
    assert told["mixed"][0][0]["failure"] == "error"
    assert texts(told["mixed"])[1] == texts(told["greedy"])[0]


def test_more_prompts_than_the_engine_reads_at_once_all_get_replies(told):
    assert {reply["failure"] for row in told["many"] for reply in row} == {None}


def test_closing_ends_the_engine_and_what_is_asked_later_fails(told):
    assert len(told["running"]) == 1
    assert told["left"] == []
    assert told["late"][0][0]["failure"] == "error"


KILLED = """
    import asyncio, multiprocessing, os, signal, sys
    from trainers.critics.vllm import VllmBackend, VllmParams

    async def main(folder):
        backend = VllmBackend(VllmParams(max_tokens=4, enforce_eager=True), folder)
        await backend.complete(["Ann"], 1)
        print("engine", *(process.pid for process in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        asyncio.run(main(sys.argv[1]))
"""


def test_the_engine_does_not_outlive_a_killed_process(start, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    output = tmp_path / "output"
    with output.open("w") as file:
        # To a file: the engine would keep a pipe open.
        done = subprocess.run(
            [sys.executable, str(script), start],
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=600,
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
        )
    assert done.returncode == -signal.SIGKILL, output.read_text()[-4000:]
    [line] = [line for line in output.read_text().splitlines() if line.startswith("engine ")]
    pids = [int(pid) for pid in line.split()[1:]]
    deadline = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pids
    assert not any(map(alive, pids))


def alive(pid):
    """Whether a process runs; one that is dead but not yet collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
