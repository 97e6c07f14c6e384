"""Trials killed (SIGKILL) at every stage, every step, every file operation and at random end as unbroken ones do.

So do trials whose training a budget ends: what was spent before a kill counts.
"""

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from capo_bench.store.home import Home, read_json
from capo_bench.study.identity import add_seed, hash_plain, identify_trial, make_trial_id
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig

HERE = Path(__file__).parent
STEPS = 4
NOISY = {
    "cold_start": {"steps": 4, "problems_per_step": 8},
    "train": {"steps": STEPS, "prompts_per_step": 2, "group_size": 2, "max_completion_tokens": 12},
    "credit": {"critiques": 2, "max_abstained": 1.0},
    "critic": {"name": "noisy"},
    "evaluation": {
        "tasks": ["coins_test", "coins_longer"], "problems": 8, "max_completion_tokens": 12, "batch_size": 4,
    },
}  # fmt: skip
LESSON = {"steps": 2, "problems_per_step": 4}
LANGUAGE = NOISY | {"critic": {"name": "transformers", "model": "embedded", "embedded": LESSON, "max_tokens": 12}}
CLOCKS = ("seconds", "cpu_seconds", "critic_wait", "critiques_reused")
"""What of a step's record is of the try and not of the trial."""


class Nursery:
    """Starts tries of trials in forked children."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[2]}", "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


def make_trial(settings):
    config = TrialConfig.model_validate(settings)
    parts = identify_trial(config)
    return Trial(make_trial_id(hash_plain(parts), 0), "v", 0, config, add_seed(parts, 0))


class Life:
    """A trial with all its tries, in a home of its own."""

    def __init__(self, nursery, settings, folder):
        self.nursery, self.trial, self.folder = nursery, make_trial(settings), folder
        folder.mkdir()
        self.home = Home(folder / "home")
        self.files = self.home.trial(self.trial.id)
        self.kills = 0

    def attempt(self, **order):
        """Try once; whether the trial is done. No step before the last whole checkpoint is taken again."""
        marked, trained, done = self.marked(), self.files.model.exists(), self.files.done
        events = self.folder / "events.jsonl"
        events.unlink(missing_ok=True)
        order = {"attempt": {"checkpoint_seconds": 0}, **order}
        answer = self.nursery.order(
            trial=self.trial.as_json(), home=str(self.home.path), events=str(events), log=str(self.folder / "log"),
            **order,
        )  # fmt: skip
        log = (self.folder / "log").read_text() if (self.folder / "log").exists() else ""
        assert answer["killed"] or answer["code"] == 0, log[-3000:]
        steps = [event["step"] for event in self.events(events) if event["kind"] == "step"]
        assert steps == [] if trained else steps == list(range(marked + 1, marked + 1 + len(steps)))
        assert self.files.done or not done
        self.kills += answer["killed"]
        return None if answer["killed"] else answer["seconds"]

    def marked(self):
        mark = self.files.checkpoints / "resume.json"
        return read_json(mark)["step"] if mark.exists() else 0

    def live(self, orders, most=400):
        """Try until the trial is done, and return the seconds of the last try."""
        for _ in range(most):
            if seconds := self.attempt(**next(orders, {})):
                return seconds
        raise AssertionError("it does not get on")

    @staticmethod
    def events(path):
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def result(self):
        """Everything that must not depend on how often it was killed."""
        files = self.files
        steps = [json.loads(line) for line in files.steps.read_text().splitlines()]
        return {
            "metrics": read_json(files.metrics)["metrics"],
            "weights": digest_of(files.model / "model.safetensors"),
            "samples": {path.parent.name: path.read_bytes() for path in files.evaluation.glob("*/samples.jsonl")},
            "steps": [{name: one for name, one in step.items() if not name.startswith(CLOCKS)} for step in steps],
            "rollouts": {path.name: rollouts(path) for path in files.rollouts.iterdir()},
            "training": read_json(files.training),
            "keys": {**files.keys(), "trial": self.trial.id},
            "files": sorted(path.relative_to(self.home.path).as_posix() for path in self.home.path.rglob("*")),
        }


def without_keys(result):
    """Return a result whose files have the names of trial and stages, not their hashes, which follow from settings."""
    paths = "\n".join(result["files"])
    for place, key in result["keys"].items():
        paths = paths.replace(key, place)
    return {name: value for name, value in result.items() if name != "keys"} | {"files": sorted(paths.split("\n"))}


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rollouts(path):
    """The rollouts of a step without what is of the try: clocks, and whether a critique had been asked for before."""
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for row in rows:
        for critique in row["critiques"]:
            critique.pop("reused", None)
            critique["usage"].pop("seconds", None)
    return rows


def unbroken(nursery, settings, folder):
    life = Life(nursery, settings, folder)
    seconds = life.attempt()
    result = life.result()
    assert [step["step"] for step in result["steps"]] == list(range(1, STEPS + 1))
    assert len({step["entropy"] for step in result["steps"]}) == STEPS  # each samples something else
    assert result["samples"].keys() == {"coins_test", "coins_longer"}
    return result, seconds


@pytest.fixture(scope="module")
def noisy(nursery, tmp_path_factory):
    result, seconds = unbroken(nursery, NOISY, tmp_path_factory.mktemp("noisy") / "whole")
    assert all(step["grad_norm"] > 0 for step in result["steps"])
    return result, seconds


@pytest.fixture(scope="module")
def language(nursery, tmp_path_factory):
    return unbroken(nursery, LANGUAGE, tmp_path_factory.mktemp("language") / "whole")


def killed_at(life, kinds):
    """Live a life that is killed before each thing of some kinds, once; return these things."""
    met = life.folder / "met"
    life.live(iter([{"met": str(met), "kinds": kinds}] * 400))
    return met.read_text().splitlines()


def test_killed_at_every_stage_and_every_step(nursery, noisy, tmp_path):
    life = Life(nursery, NOISY, tmp_path / "life")
    met = killed_at(life, "stage|step")
    assert met == [
        "stage cold start", "stage train", "step 1", "step 2", "step 3", "step 4", "stage generate coins_test",
        "stage generate coins_longer", "stage score coins_test", "stage score coins_longer", "stage record",
    ]  # fmt: skip
    assert life.kills == len(met)
    assert life.result() == noisy[0]


FSYNCS, REPLACED, DELETED = "fsync", "replace|rename|link|mkdir", "unlink|rmdir"


@pytest.mark.parametrize(
    ("kinds", "some", "at_least"),
    [
        pytest.param(REPLACED, "rename /trials/#/training/.model", 20, id="appears", marks=pytest.mark.nightly),
        pytest.param(
            DELETED,
            "unlink /trials/#/training/checkpoints/checkpoint-#/optimizer.pt",
            10,
            id="vanishes",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            FSYNCS, "fsync /trials/#/training/checkpoints/checkpoint-#", 20, id="lasts", marks=pytest.mark.nightly
        ),
    ],
)
def test_killed_before_every_file_operation(nursery, noisy, tmp_path, kinds, some, at_least):
    life = Life(nursery, NOISY, tmp_path / "life")
    met = killed_at(life, kinds)
    assert some in met
    assert life.kills == len(met) >= at_least
    assert life.result() == noisy[0]


def moments(seconds, seed, count):
    """Yield orders to be killed after a random time, spread over what a whole try takes."""
    draw = random.Random(seed)
    for _ in range(count):
        yield {"seconds": draw.uniform(0.01, seconds)}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_killed_at_random_moments(nursery, noisy, tmp_path, seed):
    life = Life(nursery, NOISY, tmp_path / "life")
    life.live(moments(noisy[1] / 3, seed, 10))
    assert life.kills >= 1  # how many depends on what else the machine does; those counted on are above
    assert life.result() == noisy[0]


@pytest.mark.nightly
def test_killed_at_random_moments_while_a_language_model_criticises(nursery, language, tmp_path):
    whole, seconds = language
    life = Life(nursery, LANGUAGE, tmp_path / "life")
    life.live(moments(seconds / 4, 2, 8))
    assert life.kills >= 1
    assert life.result() == whole
    assert all(step["critic_output_tokens"] > 0 for step in whole["steps"])
    assert list(life.home.path.glob("stages/critic/*/model.safetensors"))
    assert (life.home.critiques / "critiques.sqlite").exists()


def budgeted(settings, budget):
    """A trial of twice the steps, which a budget is to end sooner."""
    return settings | {"train": settings["train"] | {"steps": 2 * STEPS, "budget": budget}}


MODEL = "rename /trials/#/training/.model"


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("unit", "settings", "met"),
    [
        pytest.param("policy_tokens", NOISY, ["step 1", "step 2", "step 3", "step 4", MODEL], id="noisy"),
        pytest.param("total_tokens", LANGUAGE, ["step 4", MODEL], id="language"),
    ],
)
def test_killed_or_not_a_budget_ends_training_at_the_same_step(request, nursery, tmp_path, unit, settings, met):
    """A trial of twice the steps whose budget is spent at the last of the trial without one ends as that does."""
    whole, _ = request.getfixturevalue(request.node.callspec.id)
    spent = list(accumulate(step[unit] for step in whole["steps"]))
    limit = int(spent[-2]) + 1
    life = Life(nursery, budgeted(settings, {unit: limit}), tmp_path / "life")
    assert killed_at(life, "|".join(met)) == met
    result = life.result()
    assert [step.pop("budget_share") for step in result["steps"]] == pytest.approx([one / limit for one in spent])
    assert {step.pop("of") for step in result["steps"]} == {2 * STEPS}
    steps = [{name: value for name, value in step.items() if name != "of"} for step in whole["steps"]]
    assert result["keys"].keys() == whole["keys"].keys()
    assert without_keys(result) == without_keys(whole | {"steps": steps})


def test_seconds_spent_before_a_kill_count(nursery, tmp_path):
    """How many they are is of the machine, so no step may reach this budget: its share says what is counted."""
    life = Life(nursery, budgeted(NOISY, {"seconds": 1e6}), tmp_path / "life")
    assert killed_at(life, "step 3") == ["step 3"]
    steps = [json.loads(line) for line in life.files.steps.read_text().splitlines()]
    spent = list(accumulate(step["seconds"] for step in steps))
    assert len(spent) == 2 * STEPS
    assert [step["budget_share"] * 1e6 for step in steps] == pytest.approx(spent)
