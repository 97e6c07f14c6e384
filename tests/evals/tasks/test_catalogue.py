"""The catalogue of tasks: a task is a file, a suite names several, and a name that is neither is told."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import yaml

import evals.tasks
from evals.registry import UnknownNameError
from evals.tasks import FOLDER, LIMITS, SUITES, TASKS, limit_of, list_task_files, list_task_names

MATHS = ("math500", "gsm8k", "aime24", "aime25", "amc23", "minerva_math", "olympiadbench")
CHOICES = ("arc_challenge", "gpqa_diamond", "mmlu_pro")
COINS = ("coins_test", "coins_longer", "coins_distractors", "coins_unseen")
PROTOCOL = ("forks_test", "repairs_test")


class Loader(yaml.SafeLoader):
    """Reads lm-eval's YAML without importing what it names."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def written(name: str):
    """Return a task's YAML with what it includes."""
    own = yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), Loader)
    includes = own.pop("include", [])
    for include in [includes] if isinstance(includes, str) else reversed(includes):
        own = {**written(include.removesuffix(".yaml")), **own}
    return own


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Return a function that installs a package of tasks; the catalogue is read anew, then and after the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(*tasks: str, package: str = "my_tasks"):
        (tmp_path / "my_tasks").mkdir()
        for task in tasks:
            (tmp_path / "my_tasks" / f"{task}.yaml").write_text(f"task: capo_{task}\n", encoding="utf-8")
        point = EntryPoint("mine", package, evals.tasks.GROUP)
        monkeypatch.setattr(evals.tasks, "entry_points", lambda group: [point] if group == point.group else [])
        list_task_files.cache_clear()

    yield install
    list_task_files.cache_clear()


def test_every_benchmark_has_its_task():
    assert set(TASKS) == {*MATHS, *CHOICES, *(f"{name}_ll" for name in CHOICES), *COINS, *PROTOCOL}


def test_the_suites():
    assert SUITES["math"] == MATHS
    assert SUITES["ood"] == CHOICES
    assert SUITES["paper"] == (*MATHS, *CHOICES)
    assert SUITES["coins"] == COINS
    assert {name for suite in SUITES.values() for name in suite} <= set(TASKS)
    assert set(LIMITS) <= set(SUITES)


def test_suites_and_tasks_are_named_alike_and_each_task_comes_once():
    assert list_task_names(["aime25", "math", "coins_test", "coins"]) == (
        "aime25",
        *(name for name in MATHS if name != "aime25"),
        *COINS,
    )


def test_all_unknown_names_are_told_with_what_was_meant():
    with pytest.raises(UnknownNameError) as error:
        list_task_names(["math50", "aime24", "papers"])
    first, second = str(error.value).splitlines()
    assert first.startswith("unknown task or suite 'math50' (did you mean 'math500'?); suites: paper, math, ood")
    assert second.startswith("unknown task or suite 'papers' (did you mean 'paper'?)")


def test_a_quick_suite_limits_its_problems_but_not_those_of_another():
    assert limit_of(["smoke"]) == 32
    assert limit_of(["smoke", "aime24"]) is None
    assert limit_of([]) is None


@pytest.mark.parametrize("name", TASKS)
def test_a_file_is_named_after_its_task(name):
    config = written(name)
    assert config["task"] == f"capo_{name}"
    assert config["metadata"]["version"] >= 1


@pytest.mark.parametrize("name", [*MATHS, *CHOICES])
def test_a_dataset_of_the_hub_is_meant_at_one_commit(name):
    config = written(name)["dataset_kwargs"]
    assert config["folder"] == name
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", config["hub"]["path"])
    assert config["hub"]["split"] in {"test", "train"}
    assert re.fullmatch(r"[0-9a-f]{40}", config["hub"]["revision"])


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        *(("math500", 4), ("minerva_math", 4), ("olympiadbench", 4), ("gsm8k", 1)),
        *(("aime24", 32), ("aime25", 32), ("amc23", 32)),
        *((name, 1) for name in CHOICES),
        *((name, 8 if name == "coins_test" else 1) for name in COINS),
    ],
)
def test_few_problems_get_many_samples(name, samples):
    config = written(name)
    assert config["repeats"] == samples
    # One answer to a problem is the greedy one.
    assert config["generation_kwargs"]["do_sample"] == (samples > 1)


@pytest.mark.parametrize("name", CHOICES)
def test_likelihoods_are_of_the_rows_that_the_generated_answers_are_of(name):
    ours, theirs = written(f"{name}_ll"), written(name)
    assert ours["output_type"] == "multiple_choice"
    assert [one["metric"] for one in ours["metric_list"]] == ["acc", "acc_norm"]
    assert (ours["dataset_kwargs"], ours["process_docs"]) == (theirs["dataset_kwargs"], theirs["process_docs"])


def test_a_package_adds_tasks(installed):
    installed("squares", "_shared")
    assert list_task_names(["squares", "aime24"]) == ("squares", "aime24")
    assert list_task_files()["squares"].is_file()
    assert "_shared" not in list_task_files()


def test_a_package_cannot_take_a_task_s_name(installed):
    installed("math500")
    with pytest.raises(ValueError, match=r"two folders hold the task 'math500': .*rename one of them"):
        list_task_files()


def test_a_package_that_is_gone_is_told(installed):
    installed(package="no_such_tasks")
    with pytest.raises(ValueError, match=r"'mine' is registered as no_such_tasks, which is no package"):
        list_task_files()


def test_the_catalogue_is_light():
    code = (
        "import sys, evals.tasks; evals.tasks.list_task_names(['paper']); "
        "print([name for name in ('lm_eval', 'datasets', 'torch', 'pydantic', 'yaml') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
