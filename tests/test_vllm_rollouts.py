"""Rollouts by vLLM's engine in the training process: for real, on a CPU, through the command line.

vLLM's build for CPUs packs the weights of linear layers when it loads them, and then takes no update. Two switches in
it keep them as they are; they are thrown by a plugin of vLLM's that these tests put on the path, and are no part of the
product. All of the road is tested so but sleep and the GPU's memory.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vllm_server import NAME, embedded_critic, serving_vllm

from capo_bench.store.home import TrialFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (tox -e vllm)"),
]

ROOT = Path(__file__).parents[1]
SWITCHES = """
    def throw():
        import vllm._custom_ops as kernels
        import vllm.model_executor.layers.utils as layers
        from vllm.engine.arg_utils import EngineArgs

        kernels._supports_onednn = False
        layers.check_cpu_sgl_kernel = lambda *_: False

        # No compilation, which takes longer than all tests.
        made = EngineArgs.create_engine_config

        def make(self, *arguments, **options):
            self.enforce_eager = True
            return made(self, *arguments, **options)

        EngineArgs.create_engine_config = make
"""
BACKBONE = """
source: hub
model: {model}
template: {template}
micro_batch: 4
vllm: {{mode: colocate, sleep: false}}
"""
STUDY = """
name: colocated
question: Does vLLM's engine follow the policy that is trained?
within: [backbone]
baseline: method=grpo_rule,backbone=all_weights
metrics: [coins_test/accuracy]
base:
  cold_start: null
  critic: {critic}
  credit: {{critiques: 2, vote: union, max_abstained: 1.0, segmenter: {segmenter}}}
  # A rate at which an engine that did not follow would soon sample from another policy than the one that learns.
  train:
    {{steps: 3, prompts_per_step: {prompts}, group_size: {group}, max_completion_tokens: 48, learning_rate: 1.0e-3}}
  evaluation: {{tasks: [coins_test], problems: 4, samples: 0, max_completion_tokens: 24, backend: vllm}}
matrix:
  method: [capo, grpo_rule]
  backbone: [all_weights, adapters]
seeds: [0]
"""
JUDGED = {
    "embedded": ('{{name: openai, model: {name}, base_url: "{url}", max_tokens: 128}}', "blank_lines"),
    "smollm2": ("{{name: random, rate: 0.5}}", "windows_8"),
}
"""Critic and segmenter. What the first layers of a language model write has no steps and no sense: the embedded critic
abstains, and only windows that are flagged at random give gradients."""
SIZES = {"embedded": (4, 8), "smollm2": (1, 4)}
"""Problems of a step, rollouts of each: the embedded model solves one in twenty, so some groups differ in outcome."""
ALL = {(method, backbone) for method in ("capo", "grpo_rule") for backbone in ("all_weights", "adapters")}
LOUD = """
    import json, sys
    from pathlib import Path
    from trainers.config import TrialConfig
    from trainers.run import TrainRun
    from trainers.policy import PolicyTrainer, train_policy

    class Loud(PolicyTrainer):
        # A factor on the last norm's weight is one on the logits: at 1,000 sampling is all but greedy.
        factors = iter([1.0, 1000.0, 0.001])

        def _generate(self, prompts):
            model = self.accelerator.unwrap_model(self.model)
            model = model.get_base_model() if hasattr(model, "get_base_model") else model
            model.model.norm.weight.data *= next(self.factors)
            return super()._generate(prompts)

        def rollouts_kept(self):
            texts = self.alignment.texts
            groups = [texts[at : at + 4] for at in range(0, len(texts), 4)]
            print("told", json.dumps([len(set(group)) for group in groups]), flush=True)

    if __name__ == "__main__":
        start, backbone, out = sys.argv[1:]
        train = dict(steps=3, prompts_per_step=2, group_size=4, max_completion_tokens=24, learning_rate=1e-12)
        config = TrialConfig(method="grpo_rule", backbone=backbone, cold_start=None, train=train)
        folders = [Path(out) / name for name in ("checkpoints", "model", "rollouts")]
        train_policy(TrainRun(config, 0, start, *folders, record=print), Loud, "blank_lines")
"""
"""Trains three steps and changes a weight between them."""
CLOSE = {"embedded": 0.05, "smollm2": 0.1}
"""Mean difference of the log-probabilities of a token: the engine computes in bfloat16 here, the policy in float32.
After two steps on all weights, SmolLM2's first layers differ from where they began by 1.2 to 1.5."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A critic beside: vLLM's server with the embedded one."""
    folder = tmp_path_factory.mktemp("critic")
    with serving_vllm(embedded_critic(folder / "model"), folder / "log") as url:
        yield url


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the embedded model, taught for some seconds."""
    from trainers.backbones import BackboneConfig
    from trainers.cold_start import train_cold_start
    from trainers.config import ColdStartConfig

    folder = tmp_path_factory.mktemp("embedded")
    # vLLM on a CPU has no kernels for smaller heads.
    shape = BackboneConfig(source="embedded", width=128, layers=1)
    train_cold_start(shape, ColdStartConfig(steps=100, problems_per_step=32), folder, lambda record: None)
    return folder


class Study:
    """The study on one model, in a folder of its own."""

    def __init__(self, path: Path, name: str, model: Path, url: str) -> None:
        self.path, self.name, self.model = path, name, model
        self.prompts, self.group = SIZES[name]
        (path / "backbones").mkdir()
        backbone = BACKBONE.format(model=model, template="bare" if name == "embedded" else "chat")
        (path / "backbones" / "all_weights.yaml").write_text(backbone, encoding="utf-8")
        (path / "backbones" / "adapters.yaml").write_text(backbone + "lora: {rank: 4, alpha: 8}\n", encoding="utf-8")
        critic, segmenter = JUDGED[name]
        critic = critic.format(name=NAME, url=url)
        text = STUDY.format(critic=critic, segmenter=segmenter, prompts=self.prompts, group=self.group)
        (path / "colocated.yaml").write_text(text, encoding="utf-8")
        self.environment = {
            **os.environ,
            "CAPO_BENCH_BACKBONES": str(path / "backbones"),
            "CAPO_BENCH_HOME": str(path / "home"),
            "PYTHONPATH": os.pathsep.join([str(switches(path)), str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.path, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self) -> subprocess.Popen[str]:
        options = ("--workers", "1", "--no-tracking", "--checkpoint-every", "0")
        return self.start("-m", "capo_bench", "run", "colocated.yaml", *options)

    def trials(self) -> dict[tuple[str, str], Path]:
        """Return the folders of the finished trials by method and backbone."""
        found = {}
        for path in (self.path / "home" / "trials").glob("*/metrics.json"):
            config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["config"]
            found[config["method"], config["backbone"]] = path.parent
        return found


def switches(path: Path) -> Path:
    """Return a folder that holds an installed distribution: a plugin that vLLM loads before it makes an engine."""
    folder = path / "switches"
    (folder / "switches-0.dist-info").mkdir(parents=True)
    (folder / "switches.py").write_text(textwrap.dedent(SWITCHES), encoding="utf-8")
    (folder / "switches-0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: switches\nVersion: 0\n")
    entry = "[vllm.general_plugins]\nswitches = switches:throw\n"
    (folder / "switches-0.dist-info" / "entry_points.txt").write_text(entry, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["embedded", "smollm2"])
def study(request: pytest.FixtureRequest, url: str, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"), request.param, request.getfixturevalue(request.param), url)


@pytest.mark.parametrize("backbone", ["all_weights", "adapters"])
def test_a_changed_weight_changes_what_the_engine_says_at_the_next_step(study: Study, backbone: str) -> None:
    (study.path / "loud.py").write_text(textwrap.dedent(LOUD), encoding="utf-8")
    process = study.start("loud.py", str(study.model), backbone, f"loud_{backbone}")
    out, _ = process.communicate(timeout=7200)
    assert process.returncode == 0, out
    usual, loud, restored = (json.loads(line.removeprefix("told ")) for line in out.splitlines() if "told [" in line)
    assert max(loud) <= 2, "the rollouts of a group are one, but for ties"
    assert min(usual + restored) >= 3


@pytest.fixture(scope="module")
def finished(study: Study) -> Study:
    """The study, stopped after the first step of its first trial, and gone on with to its end."""
    first = study.run()
    ends = time.monotonic() + 7200
    while not [*study.path.glob("home/trials/*/training/checkpoints/resume.json")]:
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < ends
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    out, _ = first.communicate(timeout=1800)
    assert first.returncode == 143, out
    assert not study.trials()
    again = study.run()
    out, _ = again.communicate(timeout=7200)
    assert again.returncode == 0, out
    return study


def records(trial: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in TrialFolder(trial).steps.read_text(encoding="utf-8").splitlines()]


def test_trials_one_after_the_other_train_to_their_end_and_the_stopped_one_goes_on(finished: Study) -> None:
    assert finished.trials().keys() == ALL
    for trial in finished.trials().values():
        assert [record["step"] for record in records(trial)] == [1, 2, 3]


def test_the_engine_samples_from_the_policy_that_learns(finished: Study) -> None:
    for trial in finished.trials().values():
        assert all(record["sampling_logp_difference"] < CLOSE[finished.name] for record in records(trial)), trial
    for learner in ALL if finished.name == "embedded" else {("capo", "all_weights"), ("capo", "adapters")}:
        assert any(record["grad_norm"] > 0 for record in records(finished.trials()[learner])[:-1]), learner


def test_what_was_trained_is_evaluated_through_vllm(finished: Study) -> None:
    for trial in finished.trials().values():
        told = json.loads((TrialFolder(trial).completions("coins_test") / "task.json").read_text(encoding="utf-8"))
        assert told["identity"]["model"]["backend"] == "vllm"


def test_the_critic_was_asked_about_every_rollout(finished: Study) -> None:
    for (method, _), trial in finished.trials().items():
        asked = [record.get("critiques", 0) for record in records(trial)]
        assert asked == [finished.prompts * finished.group * 2 if method == "capo" else 0] * 3
