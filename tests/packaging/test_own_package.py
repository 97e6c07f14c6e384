"""The pages on adding a method, a vote, a critic and a benchmark, followed to the letter by somebody else's package.

Its files are the pages' blocks, its entry points are theirs; it is installed by pip beside the project, a study that
names its parts is run, and a task of its own is measured, through the command line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from capo_bench.store.home import TrialFolder

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

VOTE_IMPORTS = """import numpy as np

from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.votes import VotingRule


"""
SQUARES_IMPORTS = "from collections.abc import Sequence\n\nfrom evals.benchmarks import Problem, StepCheck\n\n\n"
METHOD_IMPORTS = "from trainers.methods import Method\n\n"
STUDY = """
name: own
question: Do the parts of another package train?
baseline: grpo_centred
metrics: [coins_test/accuracy]
base:
  cold_start: {steps: 4, problems_per_step: 8}
  train: {steps: 2, prompts_per_step: 2, group_size: 2, max_completion_tokens: 12}
  evaluation: {tasks: [coins_test], problems: 4, max_completion_tokens: 12}
include:
  - name: grpo_centred
    set: {method: grpo_centred}
  - name: two_thirds
    set: {method: capo, credit: {vote: two_thirds, critiques: 3}, critic: {name: last_step}}
  - name: squares
    set: {method: capo, benchmark: squares, credit: {vote: two_thirds, critiques: 3}, critic: {name: last_step}}
seeds: [0]
"""


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / f"how-to-add-{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def entry_points() -> str:
    pages = ("method", "voting-rule", "critic", "benchmark")
    return "\n".join(part for page in pages for part in blocks(page, "toml"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that holds the installed package, for PYTHONPATH."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    inner = source / "my_package"
    (inner / "tasks").mkdir(parents=True)
    for name in ("__init__.py", "tasks/__init__.py"):
        (inner / name).touch()
    (inner / "votes.py").write_text(VOTE_IMPORTS + blocks("voting-rule", "python")[0])
    (inner / "last_step.py").write_text(blocks("critic", "python")[0])
    (inner / "squares.py").write_text(SQUARES_IMPORTS + blocks("benchmark", "python")[0])
    train, described = blocks("method", "python")[:2]
    # In a package of one's own the function that trains is there too.
    described = described.replace("trainers.grpo_centred:train", "my_package.grpo_centred:train")
    (inner / "grpo_centred.py").write_text(
        train.replace("import torch\n", f"import torch\n\n{METHOD_IMPORTS}") + described
    )
    (inner / "tasks" / "squares_math.yaml").write_text(own_task())
    for name in ("_math.yaml", "_generated.yaml"):
        (inner / "tasks" / name).write_text((ROOT / "evals" / "tasks" / name).read_text())
    (source / "pyproject.toml").write_text(
        '[project]\nname = "my-package"\nversion = "1"\n\n' + entry_points() + "\n[tool.setuptools]\n"
        'packages = ["my_package", "my_package.tasks"]\n'
        '[tool.setuptools.package-data]\n"my_package.tasks" = ["*.yaml"]\n'
    )
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    # Constraints on what builds are for builds apart, which this is not.
    own = {name: value for name, value in os.environ.items() if name != "PIP_BUILD_CONSTRAINT"}
    done = subprocess.run([sys.executable, *pip, str(source)], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def own_task() -> str:
    """The page's YAML under a name that is the file's."""
    return blocks("benchmark", "yaml")[0].replace("task: capo_squares", "task: capo_squares_math")


def command(package: Path, folder: Path, *arguments: str) -> str:
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "capo_bench", *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def ran(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran")
    (folder / "own.yaml").write_text(STUDY)
    command(package, folder, "validate", "own.yaml")
    command(package, folder, "run", "own.yaml", "--workers", "1", "--no-tracking", "--home", "results")
    return folder


def test_every_entry_point_of_the_pages_is_declared():
    groups = re.findall(r'entry-points\."([a-z_.]+)"', entry_points())
    assert sorted(groups) == [
        "capo_bench.benchmarks", "capo_bench.critics", "capo_bench.methods", "capo_bench.tasks", "capo_bench.votes",
    ]  # fmt: skip


def test_a_study_of_the_packages_parts_is_trained_and_measured(ran):
    trials = {}
    for config in (ran / "results" / "trials").glob("*/config.json"):
        record = json.loads(config.read_text())
        trials[record["variant"]] = config.parent
        assert (config.parent / "metrics.json").exists()
    assert trials.keys() == {"grpo_centred", "two_thirds", "squares"}
    steps = [json.loads(line) for line in TrialFolder(trials["two_thirds"]).steps.read_text().splitlines()]
    assert all(step["flagged_step_rate"] > 0 for step in steps)  # the last step of each rollout, by all three
    assert all(step["critiques"] == 4 * 3 for step in steps)


def test_a_task_of_the_package_is_measured_on_a_local_file(package, ran):
    (ran / "data" / "squares").mkdir(parents=True)
    rows = [{"problem": f"What is {n} times {n}?\n", "answer": str(n * n)} for n in range(4)]
    (ran / "data" / "squares" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trial = next((ran / "results" / "trials").iterdir()).name
    shown = command(
        package, ran, "eval", trial, "--task", "squares_math", "--data-dir", "data", "-k", "2", "--max-tokens", "8",
        "--no-tracking", "--home", "results",
    )  # fmt: skip
    assert "squares_math" in shown
