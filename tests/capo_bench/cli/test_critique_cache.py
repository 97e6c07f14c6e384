"""The critique cache as the command line sees it: its size, its limit, and how to do without."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from capo_bench.cli import main
from capo_bench.cli.options import read_size
from capo_bench.run.executor import Job
from capo_bench.run.worker import run_job
from capo_bench.store.home import Home
from capo_bench.study.load import load_plan
from trainers.credit.critique import Critique
from trainers.critics.store import FILE, CritiqueStore, measure_store


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "results")


@pytest.fixture
def filled(home):
    """A results folder with three critiques kept."""
    store = CritiqueStore(home.critiques / FILE)
    store.write({(b"solution", number): Critique(frozenset({number})) for number in range(3)})
    store.close()
    return home


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("4096", 4096), ("4096B", 4096), ("500MB", 500_000_000), ("500m", 500_000_000), ("2GiB", 2 * 2**30),
        ("1.5 KiB", 1536), ("1kb", 1000), ("1TiB", 2**40),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1e9", "2 PiB", "ten", "1,5GB"])
def test_what_is_no_size(text):
    with pytest.raises(click.BadParameter, match="as in 500MB or 2GiB"):
        read_size(text)


def test_status_tells_size_and_limit(filled):
    shown = invoke("status", "--home", filled.path)
    assert shown.exit_code == 0
    assert "critique cache: 3 critiques, " in shown.output
    assert " KiB of at most 2.0 GiB" in shown.output


def test_status_tells_nothing_of_a_cache_that_is_not_there(home):
    assert "critique cache" not in invoke("status", "--home", home.path).output
    assert not home.path.exists()


def test_status_tells_of_a_damaged_file_and_of_the_way_out(home):
    home.critiques.mkdir(parents=True)
    (home.critiques / FILE).write_bytes(b"no database" * 1000)
    shown = invoke("status", "--home", home.path)
    assert shown.exit_code == 0
    assert f"delete {home.critiques / FILE}" in shown.output


def test_a_limit_is_set_before_anything_runs(filled, monkeypatch):
    monkeypatch.setattr("capo_bench.cli.run._run", lambda plan, home, options, asked, as_json: 0)
    assert invoke("run", "voting", "--home", filled.path, "--critique-cache-size", "500MB").exit_code == 0
    assert measure_store(filled.critiques / FILE).limit == 500_000_000
    assert invoke("run", "voting", "--home", filled.path).exit_code == 0
    assert measure_store(filled.critiques / FILE).limit == 500_000_000


def test_a_limit_for_no_cache_is_a_mistake(home):
    run = invoke("run", "voting", "--home", home.path, "--no-critique-cache", "--critique-cache-size", "1GB")
    assert run.exit_code == 2
    assert "exclude each other" in run.output


def test_a_limit_that_cannot_be_set_ends_the_run(home):
    home.critiques.mkdir(parents=True)
    (home.critiques / FILE).write_bytes(b"no database" * 1000)
    run = invoke("run", "voting", "--home", home.path, "--critique-cache-size", "1GB")
    assert run.exit_code == 2
    assert f"{FILE}: file is not a database; delete the file" in run.output


@pytest.mark.parametrize(("options", "keep"), [([], True), (["--no-critique-cache"], False)])
def test_the_wish_for_no_cache_reaches_the_run(home, monkeypatch, options, keep):
    homes = []
    monkeypatch.setattr("capo_bench.cli.run._run", lambda plan, home, options, asked, as_json: homes.append(home) or 0)
    invoke("run", "voting", "--home", home.path, *options)
    assert homes == [Home(home.path, keep_critiques=keep)]


def told_home(trial, home, emit, stop, attempt):
    """A task that tells where critiques are kept."""
    emit({"kind": "stage", "stage": str(home.critiques)})
    home.trial(trial.id).path.mkdir(parents=True, exist_ok=True)
    home.trial(trial.id).metrics.write_text("{}")
    return True


@pytest.mark.parametrize("keep", [True, False])
def test_the_wish_for_no_cache_reaches_the_trial(home, keep, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    trial = load_plan("voting").trials[0]
    log, lock = home.path / "log", home.path / "lock"
    job = Job("trial", "test_critique_cache:told_home", trial, home.path, log, lock, keep_critiques=keep)
    told = []
    assert run_job(job.message(), told.append, lambda: False) == {"status": "done"}
    assert told == [{"kind": "stage", "stage": str(home.critiques) if keep else "None"}]
