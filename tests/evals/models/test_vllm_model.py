"""A model in vLLM's engine against the same in Transformers; the engine needs vLLM (tox -e vllm)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from evals.coins import COINS
from evals.models.base import Completion, Likelihood, ModelError, Sampling, Usage
from evals.models.open import open_model
from evals.models.spec import read_spec
from trainers.backbones import BACKBONES
from trainers.backbones.tiny import MAX_POSITIONS
from trainers.config import ColdStartConfig

INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="vllm is not installed (pip install 'capo-bench[vllm]')")

PROMPTS = [problem.prompt for problem in COINS.problems("train", 12)]
LONG = " ".join(PROMPTS)
"""Several blocks of the engine's cache, which keeps whole blocks."""
TOO_LONG = "9 + " * MAX_POSITIONS
PAIRS = [(PROMPTS[0], " 3"), (PROMPTS[0], " Ann has 3 coins."), (PROMPTS[1], " 4")]
LONGEST = 36
"""Some solutions of coins end before that many tokens and some do not."""
GREEDY = Sampling(0.0, 1.0, LONGEST)

# A process of its own: the engine claims the cores and the process's settings of torch.
SCRIPT = """
    import asyncio, json, multiprocessing, sys, time
    from dataclasses import asdict
    from evals.models.base import ModelError, Sampling
    from evals.models.open import open_model
    from evals.models.spec import read_spec

    def opened(folder):
        # No compilation: a minute for nothing here.
        return open_model(read_spec(model=folder, backend="vllm", enforce_eager=True, batch_size=4))

    def refusal(ask):
        try:
            ask()
        except ModelError as error:
            return str(error)

    def children():
        return [process.name for process in multiprocessing.active_children()]

    def left():
        # A busy machine takes its time to bury a process.
        ends = time.monotonic() + 60
        while children() and time.monotonic() < ends:
            time.sleep(0.1)
        return children()

    async def main(folder, broken, prompts, pairs, long, too_long, longest):
        model = opened(folder)
        async def ask(prompts, n, temperature=1.0, seed=1, first=0):
            rows = await model.complete(prompts, n, Sampling(temperature, 1.0, longest), seed=seed, first=first)
            return [[asdict(completion) for completion in row] for row in rows]
        told = dict(
            greedy=await ask(prompts, 1, 0.0),
            other_greedy=await ask(prompts, 2, 0.0, seed=2),
            at_once=await ask(prompts, 4),
            first=await ask(prompts[:2], 2),
            rest=await ask(prompts[:2], 2, first=2),
            other=await ask(prompts, 4, seed=2),
            mixed=await ask([too_long, prompts[0]], 1, 0.0),
            many=await ask([f"{number} " + long for number in range(100)], 2),
            twice=[row for _ in range(2) for row in await ask([long], 1)],
            nothing=await ask([], 1),
            likelihoods=[asdict(each) for each in model.score([tuple(pair) for pair in pairs])],
            too_long=refusal(lambda: model.check([prompts[0], too_long], Sampling(1.0, 1.0, longest))),
            pair_too_long=refusal(lambda: model.score([(too_long, " 3")])),
            identity=model.identity(),
            batch=model.batch,
            running=children(),
        )
        await model.close()
        told |= dict(left=left(), late=await ask(prompts[:1], 1))
        if broken:
            told |= dict(broken=refusal(lambda: opened(broken)), left_of_broken=left())
        print("told " + json.dumps(told))

    if __name__ == "__main__":
        asyncio.run(main(*json.loads(sys.argv[1])))
"""


def run_script(script, *asked, output=None):
    """Run a script in a process of its own, with what it is asked as JSON."""
    return subprocess.run(
        [sys.executable, str(script), json.dumps(asked)],
        stdout=output or subprocess.PIPE,
        stderr=subprocess.STDOUT if output else subprocess.PIPE,
        text=True,
        check=False,
        timeout=600,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        },
    )


def heard(tmp, model, broken=None):
    script = tmp / "ask.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = run_script(script, str(model), broken, PROMPTS, PAIRS, LONG, TOO_LONG, LONGEST)
    assert done.returncode == 0, done.stderr[-4000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    return json.loads(line.removeprefix("told "))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a tiny model after a short cold start: it writes solutions, mostly wrong ones, and ends them."""
    from trainers.cold_start import train_cold_start

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model")
    lesson = ColdStartConfig(steps=40, problems_per_step=32)
    train_cold_start(BACKBONES.load("tiny"), lesson, folder, lambda record: None)
    return folder


@pytest.fixture(scope="module")
def told(folder, tmp_path_factory):
    """What the engine says of all that is asked of it here; and of a model whose template cannot be rendered."""
    broken = tmp_path_factory.mktemp("broken") / "model"
    shutil.copytree(folder, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "capo_bench_template": "chat"}))
    (broken / "chat_template.jinja").write_text("{{ raise_exception('no turns here') }}")
    return heard(tmp_path_factory.mktemp("script"), folder, str(broken))


@pytest.fixture(scope="module")
def hf(folder):
    return open_model(read_spec(model=str(folder)))


def read(rows):
    return [[Completion(**{**each, "usage": Usage(**each["usage"])}) for each in row] for row in rows]


def texts(rows):
    return [[completion["text"] for completion in row] for row in rows]


def counted(rows):
    """What completions say and count; how long they took is each machine's own."""
    usages = [[(each.usage.prompt_tokens, each.usage.output_tokens) for each in row] for row in rows]
    return usages, [[(each.text, each.end) for each in row] for row in rows]


def greedily(model):
    return asyncio.run(model.complete(PROMPTS, 1, GREEDY, seed=1))


@pytest.mark.slow
@needs_vllm
def test_it_says_what_transformers_say(told, hf):
    assert counted(read(told["greedy"])) == counted(greedily(hf))
    assert {each["end"] for row in told["greedy"] + told["at_once"] for each in row} == {"stop", "length"}
    assert texts(told["other_greedy"]) == [row * 2 for row in texts(told["greedy"])]


@pytest.mark.slow
@needs_vllm
def test_it_finds_as_likely_what_transformers_find(told, hf):
    for row, expected in zip(told["likelihoods"], hf.score(PAIRS), strict=True):
        assert Likelihood(**row) == Likelihood(pytest.approx(expected.logprob, abs=0.01), expected.greedy)


@pytest.mark.slow
@needs_vllm
def test_completions_are_different_samples_and_parts_of_the_same_row(told):
    assert [len(set(row)) for row in texts(told["at_once"])] == [4] * len(PROMPTS)
    parts = zip(texts(told["first"]), texts(told["rest"]), strict=True)
    assert [first + rest for first, rest in parts] == texts(told["at_once"])[:2]
    assert texts(told["other"]) != texts(told["at_once"])
    assert told["nothing"] == []


@pytest.mark.slow
@needs_vllm
def test_usage_adds_up_and_knows_what_was_kept(told, hf):
    for prompt, row in zip(PROMPTS, read(told["at_once"]), strict=True):
        assert [each.usage.prompt_tokens for each in row] == [len(hf.encode(prompt)), 0, 0, 0]
        assert all(each.usage.seconds > 0 for each in row)
        assert all(1 <= each.usage.output_tokens <= LONGEST for each in row)
        assert all(each.usage.output_tokens == LONGEST for each in row if each.end == "length")
    first, second = (row[0].usage for row in read(told["twice"]))
    assert first.cached_tokens == 0
    assert second.prompt_tokens / 2 < second.cached_tokens < second.prompt_tokens


@pytest.mark.slow
@needs_vllm
def test_a_prompt_without_room_fails_and_the_others_do_not(told):
    assert told["mixed"][0][0]["end"] == "error"
    assert texts(told["mixed"])[1] == texts(told["greedy"])[0]


@pytest.mark.slow
@needs_vllm
def test_more_prompts_than_the_engine_reads_at_once_are_all_answered(told):
    assert [len(row) for row in told["many"]] == [2] * 100
    assert {completion["end"] for row in told["many"] for completion in row} <= {"stop", "length"}


@pytest.mark.slow
@needs_vllm
def test_what_does_not_fit_is_told_not_cut(told):
    assert f"a completion of {LONGEST} (max_tokens) do not fit the 1024 tokens of the model" in told["too_long"]
    assert "tokens and the model takes 1023" in told["pair_too_long"]


@pytest.mark.slow
@needs_vllm
def test_identity_differs_from_that_of_transformers_by_the_backend_alone(told, hf):
    identity, other = dict(told["identity"]), dict(hf.identity())
    assert (identity.pop("backend"), other.pop("backend")) == ("vllm", "hf")
    assert identity["packages"].pop("vllm")
    assert identity == other
    assert told["batch"] == 4


@pytest.mark.slow
@needs_vllm
def test_closing_ends_the_engine_and_what_is_asked_later_fails(told):
    assert len(told["running"]) == 1
    assert told["left"] == []
    assert told["late"][0][0]["end"] == "error"


@pytest.mark.slow
@needs_vllm
def test_a_model_that_cannot_be_talked_to_leaves_no_engine(told):
    assert "cannot be rendered (TemplateError: no turns here)" in told["broken"]
    assert told["left_of_broken"] == []


@pytest.mark.slow
@needs_vllm
def test_an_adapter_is_measured_on_its_base(folder, hf, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(5)
        lora = LoraConfig(
            r=4, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False,
            task_type="CAUSAL_LM",
        )  # fmt: skip
        get_peft_model(AutoModelForCausalLM.from_pretrained(folder), lora).save_pretrained(tmp_path / "adapter")
    adapted = heard(tmp_path, tmp_path / "adapter")
    expected = open_model(read_spec(model=str(tmp_path / "adapter")))
    assert counted(read(adapted["greedy"])) == counted(greedily(expected))
    for row, likelihood in zip(adapted["likelihoods"], expected.score(PAIRS), strict=True):
        assert row["logprob"] == pytest.approx(likelihood.logprob, abs=0.05)
    assert expected.score(PAIRS) != hf.score(PAIRS)
    assert adapted["identity"]["adapter"] == expected.identity()["adapter"]


KILLED = """
    import asyncio, json, multiprocessing, os, signal, sys
    from evals.models.base import Sampling
    from evals.models.open import open_model
    from evals.models.spec import read_spec

    async def main(folder):
        model = open_model(read_spec(model=folder, backend="vllm", enforce_eager=True))
        await model.complete(["Ann"], 1, Sampling(1.0, 1.0, 4), seed=0)
        print("engine", *(process.pid for process in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        asyncio.run(main(*json.loads(sys.argv[1])))
"""


@pytest.mark.slow
@needs_vllm
def test_the_engine_does_not_outlive_a_killed_process(folder, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    output = tmp_path / "output"
    with output.open("w") as file:
        # To a file: the engine would keep a pipe open.
        done = run_script(script, str(folder), output=file)
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


@pytest.mark.skipif(INSTALLED, reason="vllm is installed")
def test_without_vllm_the_way_out_is_told():
    with pytest.raises(ModelError, match=r"vLLM, which is not installed: pip install 'capo-bench\[vllm\]'"):
        open_model(read_spec(model="m", backend="vllm"))
