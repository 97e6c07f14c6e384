"""The documents: what they point at exists, what they show works, and what they name is the project's own."""

from __future__ import annotations

import asyncio
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from capo_bench.cli import COMMANDS
from capo_bench.study.keys import list_dotted_keys
from capo_bench.study.load import check_study
from evals.benchmarks import Problem
from trainers.config import TrialConfig
from trainers.credit.segment import blank_lines, list_step_texts
from trainers.critics.base import Solution, Surroundings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_PATH = re.compile(
    r"`((?:capo_bench|trainers|evals|ablations|tests|benchmarks|docs)/[\w./-]+|[\w-]+\.(?:md|txt|toml|ini))`"
)
CODE_NAME = re.compile(r"`((?:capo_bench|trainers|evals)(?:\.\w+)+)")
GROUPS = {f"capo_bench.{name}" for name in ("normalizations", "segmenters", "step_data")}
"""Groups of entry points that documents name, which look like modules."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# In pieces, so that this file does not hold what it looks for.
HOSTS = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "download.pytorch" + ".org",
    "registry.npmjs" + ".org",
    "deb.debian" + ".org",
)
MACHINE_PATHS = ("/wo" + "rk/", "/op" + "t/")
NOT_OURS = ("session", "sandbox")
by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [body for name, body in BLOCK.findall(text) if name == language]


@by_name
def test_links_lead_to_files(document):
    targets = [link.partition("#")[0] for link in LINK.findall(document.read_text(encoding="utf-8"))]
    local = [target for target in targets if target and not target.startswith("https://")]
    assert [target for target in local if not (document.parent / target).exists()] == []


@by_name
def test_paths_in_code_are_files_of_the_project(document):
    named = CODE_PATH.findall(document.read_text(encoding="utf-8"))
    places = (ROOT, document.parent)
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


@by_name
def test_names_in_code_are_there(document):
    for name in {*CODE_NAME.findall(document.read_text(encoding="utf-8"))} - GROUPS:
        assert pkgutil.resolve_name(name)


@by_name
def test_a_document_speaks_of_the_project_alone(document):
    text = document.read_text(encoding="utf-8").lower()
    assert [word for word in NOT_OURS if re.search(rf"\b{word}s?\b", text)] == []


def test_no_file_names_a_registry_or_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.splitlines():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):  # a picture, or a file that is being moved
            continue
        found += [f"{name}: {word}" for word in (*HOSTS, *MACHINE_PATHS) if word in text]
    assert found == []


def test_the_readme_shows_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`capo-bench {name}" not in text] == []


def test_ci_runs_the_readmes_test_command():
    console = "".join(blocks("README.md", "console")).splitlines()
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    (command,) = (line for line in lines if line.endswith("/tox"))
    assert command in console
    assert "grep -m 1 '/tox$' README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["docs/how-to-add-study.md", "docs/study-file.md"])
def test_studies_in_the_documents_are_valid(document, tmp_path):
    (text,) = blocks(document, "yaml")
    file = tmp_path / f"{yaml.safe_load(text)['name']}.yaml"
    file.write_text(text, encoding="utf-8")
    assert all(plan.trials for plan in check_study(file))


def test_every_setting_is_in_the_table_of_settings():
    text = (ROOT / "docs" / "study-file.md").read_text(encoding="utf-8").partition("## Settings of a trial")[2]
    assert [key for key in list_dotted_keys(TrialConfig) if key.rpartition(".")[2] not in text] == []


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Return a function that imports the first Python block of a document."""

    def load(document: str, imports: str = ""):
        file = tmp_path / "shown.py"
        file.write_text(imports + blocks(document, "python")[0], encoding="utf-8")
        spec = importlib.util.spec_from_file_location("shown", file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "shown", module)  # annotations are looked up there
        spec.loader.exec_module(module)
        return module

    return load


def test_the_voting_rule_shown_votes_as_its_row_says(shown):
    imports = "import numpy as np\nfrom trainers.credit.arrays import BoolArray, FloatArray\n"
    imports += "from trainers.credit.votes import VotingRule\n"
    rule = shown("docs/how-to-add-voting-rule.md", imports).TWO_THIRDS.shares
    four = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    three = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    row = f'("two_thirds", None, {rule(four, None).astype(int).tolist()}, {rule(three, None).astype(int).tolist()})'
    assert blocks("docs/how-to-add-voting-rule.md", "python")[-1].strip() == row


def test_the_benchmark_shown_hands_out_problems_and_checks_steps(shown):
    imports = "from collections.abc import Sequence\nfrom evals.benchmarks import Problem, StepCheck\n"
    squares = shown("docs/how-to-add-benchmark.md", imports).SQUARES
    train, test = (squares.problems(split, 5, seed=1) for split in squares.splits)
    assert not {problem.prompt for problem in train} & {problem.prompt for problem in test}
    problem = Problem("squares/test/12", "What is 12 times 12?\n", "144")
    assert squares.check_steps(problem, ["12 * 12 = 144", "so 145"]).wrong == {1}


def test_the_critic_shown_criticises(shown):
    critic = shown("docs/how-to-add-critic.md").LastStepParams().build(Surroundings(benchmark=None, seed=0))
    solution = Solution(Problem("p", "?", "1"), list_step_texts(text := "a\n\nb", blank_lines(text)))
    ((first, second),) = asyncio.run(critic.critique([solution], 2))
    assert first.wrong == second.wrong == {1}


def test_the_method_shown_centres_its_groups(shown):
    module = shown("docs/how-to-add-method.md")
    config = SimpleNamespace(train=SimpleNamespace(group_size=2))
    trainer = SimpleNamespace(outcomes=np.array([1.0, 0.0, 1.0, np.nan]), config=config)
    advantages = module.CentredTrainer.advantages(trainer, 3)
    assert advantages.tolist() == [[0.5] * 3, [-0.5] * 3, [0.0] * 3, [0.0] * 3]
