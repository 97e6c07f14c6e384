"""`capo-bench gc`: what may go and what never does, bytes really freed, runs left alone, kills half-way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import capo_bench
from capo_bench.cli import main
from capo_bench.gc import free as freeing
from capo_bench.gc.find import GcRequest, scan
from capo_bench.gc.free import free, hold_at_rest
from capo_bench.gc.removable import AWAY, Removable
from capo_bench.run.state import read_study_status
from capo_bench.store.errors import StudyLockedError
from capo_bench.store.home import Home, read_json, write_json
from capo_bench.store.ledger import Ledger
from capo_bench.store.lock import hold_lock, wait_for_lock
from capo_bench.study.identity import add_seed, hash_plain, hash_training, identify_trial, make_trial_id
from trainers.config import TrialConfig

ROOT = Path(capo_bench.__file__).parents[1]
OLD = 0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "results")


def config(**changes: Any) -> TrialConfig:
    return TrialConfig.model_validate({"method": "grpo_rule", **changes})


def put(home: Home, seed: int = 0, *, done: bool = True, variant: str = "v", accuracy: float = 0.5, **more: Any) -> str:
    """A trial as it is left: weights of 1,000 bytes, samples of 100; returns its id, which is today's."""
    settings = config(**more)
    parts = identify_trial(settings)
    trial = make_trial_id(hash_plain(parts), seed)
    folder = home.trial(trial)
    told = {"id": trial, "variant": variant, "seed": seed, "config": settings.model_dump(mode="json")}
    write_json(folder.config, {**told, "identity": add_seed(parts, seed)})
    write(folder.samples("coins_test"), 100)
    write(folder.steps, 10)
    if done:
        write(folder.model / "model.safetensors", 1000)
        metrics = {"coins_test/accuracy": accuracy, "coins_test/wrong_step_rate": 1 - accuracy}
        write_json(folder.metrics, {"metrics": metrics, "cost": {"train_seconds": 1800.0}})
    return trial


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def plan(home: Home, *trials: str, study: str = "demo", profile: str = "quick", metric: str = "accuracy") -> None:
    """What a run of a study leaves when it starts; of a trial that is not there, what it will be."""
    kept = [record(home, trial) for trial in trials]
    write_json(home.study(study).profile(profile).plan, {"metrics": [f"coins_test/{metric}"], "trials": kept})
    Ledger(home.study(study).ledger).append("study_started", profile=profile, plan=list(trials))


def record(home: Home, trial: str) -> dict[str, Any]:
    if home.trial(trial).config.exists():
        return {**read_json(home.trial(trial).config), "id": trial}
    return {"id": trial, "variant": "v", "seed": 9, "identity": add_seed(identify_trial(config()), 9)}


def found(home: Home, **wanted: Any) -> dict[str, str]:
    """What may go: path in the folder → kind."""
    return {str(item.path.relative_to(home.path)): item.kind for item in scan(home, GcRequest(**wanted)).items()}


def gc(home: Home, *args: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["gc", "--home", str(home.path), *args], env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.output


def tree(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file() and "lock" not in file.name}


# What may go


def test_nothing_of_finished_trials_and_of_pending_ones_goes_by_itself(home: Home) -> None:
    done, owed = put(home), put(home, 1, done=False)
    write(home.trial(owed).checkpoints / "checkpoint-5" / "optimizer.pt", 500)
    write_json(home.trial(owed).checkpoints / "resume.json", {"checkpoint": "checkpoint-5"})
    plan(home, done, owed)
    assert found(home) == {}
    assert "nothing can be deleted" in gc(home, "--yes")


def test_half_written_leftovers_go_and_checkpoints_stay(home: Home) -> None:
    trial = put(home, done=False)
    folder = home.trial(trial)
    half = [
        write(folder.trained / ".model" / "model.safetensors", 1).parent,
        write(folder.processes / "job.json", 1).parent,
        write(folder.path / ".metrics.json.0123456789abcdef", 1),
        write(home.path / f"{AWAY}.0123456789abcdef" / ".config.json.0123456789abcdef", 1).parent,
    ]
    settled = [
        write(home.path / "stages" / "cold_start" / ".abc.making" / "half", 1).parent,
        write(home.path / ".unpacking.0123456789abcdef" / "trials" / "half", 1).parents[1],
        write(home.study("demo").profile("quick").report / ".report.html.0123456789abcdef", 1),
        write(home.path / "evals" / "a" / ".page.html.0123456789abcdef", 1),
    ]
    mine = write(home.path / ".git" / "config", 1)
    write(folder.checkpoints / "checkpoint-5" / "whole", 1)
    plan(home, trial)
    assert found(home) == {str(path.relative_to(home.path)): "leftovers" for path in half}
    for path in settled:
        for inner in (path, *path.rglob("*")):
            os.utime(inner, (OLD, OLD))  # no lock tells whose it is, but it is old
    assert found(home) == {str(path.relative_to(home.path)): "leftovers" for path in (*half, *settled)}
    with elsewhere(home.path / "evals" / "a" / "lock"):  # an evaluation may have a model made
        assert len(found(home)) == 4
    gc(home, "--yes")
    assert not [path for path in (*half, *settled) if path.exists()]
    assert (folder.checkpoints / "checkpoint-5" / "whole").exists()
    assert mine.exists()


def test_an_unfinished_trial_that_no_plan_has_goes_and_a_finished_one_stays(home: Home) -> None:
    kept_one, unfinished, finished = put(home), put(home, 1, done=False), put(home, 2)
    plan(home, kept_one, unfinished, finished)
    assert found(home) == {}
    plan(home, kept_one)  # run again with other settings
    assert found(home) == {f"trials/{unfinished}": "unused"}
    told = json.loads(gc(home, "--json"))
    assert told["finished_unplanned"] == [finished]
    assert f"--trial {finished}" in gc(home)
    plan(home, unfinished, profile="full")  # another profile has it
    assert found(home) == {}


def test_models_are_kept_by_policy_of_each_variant(home: Home) -> None:
    good, bad = put(home, 0, accuracy=0.8), put(home, 1, accuracy=0.4)
    other = put(home, 0, variant="w", accuracy=0.1, train={"steps": 7})
    plan(home, good, bad, other)
    models = {trial: f"trials/{trial}/training/model" for trial in (good, bad, other)}
    assert found(home, keep_models=None) == {}
    assert found(home, keep_models=1) == {models[bad]: "models"}
    plan(home, good, bad, other, metric="wrong_step_rate")  # the lower the better
    assert found(home, keep_models=1) == {models[bad]: "models"}
    assert found(home, keep_models=2) == {}
    assert found(home, keep_models=0) == dict.fromkeys(models.values(), "models")
    shown = gc(home, "--keep-models", "none", "--kind", "models")
    assert "without their weights 3 trials must be trained again (1 h 30 min by their record)" in shown
    before = tree(home.path)
    gc(home, "--keep-models", "best:1", "--yes")
    assert before - tree(home.path) == {f"{models[bad]}/model.safetensors"}


def test_a_metric_that_ranks_nothing_is_refused(home: Home) -> None:
    plan(home, put(home), metric="steps")
    assert "neither better high nor low" in gc(home, "--keep-models", "best:1", code=2)
    assert "'best:0' is no policy; write all, none, or best:N" in gc(home, "--keep-models", "best:0", code=2)


def test_a_plan_that_cannot_be_read_is_named(home: Home) -> None:
    plan(home, put(home))
    home.study("demo").profile("quick").plan.write_text("{")
    assert "plan.json: no plan" in gc(home, "--yes", code=2)


def test_a_whole_trial_goes_when_it_is_named_and_is_then_pending(home: Home) -> None:
    trial, other = put(home), put(home, 1)
    plan(home, trial, other)
    gc(home, "--trial", trial, "--yes")
    assert not home.trial(trial).path.exists()
    counts = {state: count for state, count in read_study_status(home, "demo").counts().items() if count}
    assert counts == {"done": 1, "pending": 1}
    assert "there is no such folder" in gc(home, "--trial", "abc", code=2)
    assert "there is no such folder" in gc(home, "--trial", "../studies", code=2)


def test_shared_models_that_a_trial_was_made_with_stay(home: Home) -> None:
    trial = put(home)
    key = read_json(home.trial(trial).config)["identity"]["training"]["cold_start"]["key"]
    write(home.stage("cold_start", key) / "model.safetensors", 1)
    write(home.stage("critic", "unused") / "model.safetensors", 1)
    plan(home, trial)
    assert found(home) == {"stages/critic/unused": "unused"}
    assert found(home, trials=[trial]).get(f"stages/cold_start/{key}") == "unused"
    plan(home, "not-begun")  # needs it, too
    assert found(home, trials=[trial]) == {f"trials/{trial}": "trials", "stages/critic/unused": "unused"}


def test_the_process_reward_model_of_a_trial_stays(home: Home) -> None:
    trial = put(home, method="prm_min")
    key = read_json(home.trial(trial).config)["identity"]["training"]["prm"]["embedded"]
    for name in (key, "unused"):
        write(home.stage("prm", name) / "model.safetensors", 1)
    plan(home, trial)
    assert found(home) == {"stages/prm/unused": "unused"}


def share(home: Home, trial: str, *more: str) -> str:
    """Move a trial's training under its key, which others list too; returns the key."""
    record, folder = read_json(home.trial(trial).config), home.trial(trial)
    key = hash_training(record["identity"], record["seed"])
    home.stage("training", key).parent.mkdir(parents=True, exist_ok=True)
    folder.trained.rename(home.stage("training", key))
    for name in (trial, *more):
        write_json(home.trial(name).stages, {"training": key})
    return key


def test_a_stage_goes_with_the_last_trial_that_lists_it(home: Home) -> None:
    first, second = put(home), put(home, evaluation={"problems": 7})
    shutil.rmtree(home.trial(second).trained)
    stage = f"stages/training/{share(home, first, second)}"
    plan(home, first, second)
    assert found(home) == {}
    assert found(home, trials=[first]) == {f"trials/{first}": "trials"}
    both = {f"trials/{trial}": "trials" for trial in (first, second)}
    assert found(home, trials=[first, second]) == {**both, stage: "unused"}
    assert found(home, trials=[first, second], study="demo") == {**both, stage: "unused"}
    gc(home, "--trial", first, "--trial", second, "--yes")
    assert not (home.path / stage).exists()


def test_a_stage_that_an_unfinished_trial_will_have_stays(home: Home) -> None:
    gone, waits = put(home), put(home, evaluation={"problems": 7}, done=False)
    key = share(home, gone)
    plan(home, gone, waits)
    shutil.rmtree(home.trial(gone).path)
    plan(home, waits)
    assert f"stages/training/{key}" not in found(home)


def test_shared_weights_go_when_no_trial_keeps_them(home: Home) -> None:
    good, bad = put(home, accuracy=0.8), put(home, accuracy=0.4, evaluation={"problems": 7})
    shutil.rmtree(home.trial(bad).trained)
    model = f"stages/training/{share(home, good, bad)}/model"
    plan(home, good, bad)
    assert found(home, keep_models=1) == {}
    assert found(home, keep_models=0) == {model: "models"}
    assert [item.count_bytes() for item in scan(home, GcRequest(keep_models=0)).items()] == [1000]
    home.trial(bad).metrics.unlink()  # it goes on, and needs them
    assert found(home, keep_models=0) == {}


def test_a_trial_that_cannot_be_read_keeps_all_stages(home: Home) -> None:
    trial = put(home)
    share(home, trial)
    write(home.stage("critic", "unused") / "model.safetensors", 1)
    plan(home)
    assert found(home) == {"stages/critic/unused": "unused"}
    home.trial(trial).config.write_text("{")
    assert found(home) == {}


def test_a_lock_that_somebody_takes_meanwhile_is_left_alone(home: Home) -> None:
    plan(home, put(home))
    write(home.stage("training", "000000000000") / "steps.jsonl", 0)
    items = scan(home, GcRequest()).items()
    with elsewhere(home.stage_lock("training", "000000000000")):
        assert found(home) == {}
        assert ["somebody is at work" in told for told in free(home, items)] == [True]
    assert home.stage("training", "000000000000").exists()


def test_half_written_news_of_a_killed_run_go_and_those_of_one_that_goes_on_stay(home: Home) -> None:
    plan(home, put(home))
    plan(home, put(home, 1), study="runs")
    killed, last = (write(home.study("demo").path / name, 30) for name in (".now.json.4711", "now.json"))
    lives = write(home.study("runs").path / ".now.json.4712", 30)
    for path in (killed, last, lives):
        os.utime(path, (OLD, OLD))  # `status` tells what a crashed run was at
    with elsewhere(home.study("runs").path / "lock"):
        assert found(home) == {"studies/demo/.now.json.4711": "leftovers"}
        assert found(home, study="demo") == found(home)
        gc(home, "--yes")
    assert (killed.exists(), last.exists(), lives.exists()) == (False, True, True)
    assert found(home, study="demo") == {}
    assert found(home) == {"studies/runs/.now.json.4712": "leftovers"}


def test_pages_go_that_can_be_written_again(home: Home) -> None:
    shown, silent, other = (put(home, seed) for seed in range(3))
    for trial in (shown, other):
        write(home.trial(trial).rollouts / "00001.0.jsonl.gz", 1)
    for trial in (shown, silent, other, "gone"):
        write(home.view(trial), 4096)
    half = write(home.view(shown).with_name(f".{shown}.html.0123456789abcdef"), 1)
    plan(home, shown, silent)
    plan(home, other, study="runs")
    with elsewhere(home.study("runs").path / "lock"):
        assert found(home) == {f"views/{shown}.html": "caches"}
    assert found(home, study="demo") == {f"views/{shown}.html": "caches"}
    assert f"views/{shown}.html  4 KiB: `capo-bench view` writes it again" in gc(home, "--kind", "caches")
    assert found(home, trials=[silent])[f"views/{silent}.html"] == "caches", "the trial goes"
    os.utime(half, (OLD, OLD))
    gc(home, "--yes")
    assert {path.name for path in half.parent.iterdir()} == {f"{silent}.html", "gone.html"}


def test_digests_and_older_parts_of_logs_go(home: Home) -> None:
    trial = put(home)
    plan(home, trial)
    write(home.digests / f"{trial}.json", 1)
    write(home.trial(trial).path / "trial.log.1", 1)
    write(home.trial(trial).log, 1)
    os.utime(write(home.study("demo").path / "workers.log.2", 1), (OLD, OLD))
    assert sorted(found(home).values()) == ["caches", "leftovers", "leftovers"]
    assert set(found(home, kinds=["caches"]).values()) == {"caches"}


# Others at work


@contextmanager
def elsewhere(lock: Path) -> Iterator[None]:
    """Another process holds a lock file, as a run does."""
    code = "import sys\nfrom pathlib import Path\nfrom capo_bench.store.lock import hold_lock\n"
    code += "with hold_lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


def test_what_a_running_study_refers_to_is_left_alone(home: Home) -> None:
    mine, theirs = put(home), put(home, 1)
    for trial in (mine, theirs):
        write(home.trial(trial).processes / "job.json", 1)
    write(home.stage("critic", "unused") / "model.safetensors", 1)
    plan(home, mine)
    plan(home, theirs, study="runs")
    with elsewhere(home.study("runs").path / "lock"):
        assert found(home) == {f"trials/{mine}/.launch": "leftovers"}
        assert "left out, because it is running: runs" in gc(home)
        assert "somebody is at work with it" in gc(home, "runs", "--trial", theirs, "--yes", code=2)
        gc(home, "--yes")
    assert home.trial(theirs).processes.exists()
    assert not home.trial(mine).processes.exists()


def test_a_run_on_another_machine_is_known_by_its_fresh_news(home: Home) -> None:
    trial = put(home)
    write(home.trial(trial).processes / "job.json", 1)
    plan(home, trial)
    folder = home.study("demo")
    write_json(folder.path / "lock", {"pid": 7, "host": "another", "since": "2026-01-01T00:00:00+00:00"})
    write_json(folder.now, {})
    with hold_at_rest(home) as running:
        assert running == {"demo"}
        assert scan(home, GcRequest(), running).items() == []
    with pytest.raises(StudyLockedError, match="process 7 on another"), hold_at_rest(home, "demo"):
        pass


def test_a_trial_somebody_works_on_is_left_alone_and_no_study_starts_meanwhile(home: Home) -> None:
    trial = put(home)
    write(home.trial(trial).processes / "job.json", 1)
    plan(home, trial)
    items = scan(home, GcRequest()).items()
    with elsewhere(home.trial(trial).path / "lock"):
        assert found(home) == {}
        assert ["somebody is at work" in told for told in free(home, items)] == [True]
    with hold_at_rest(home):
        with pytest.raises(StudyLockedError), hold_lock(home.study("demo").path / "lock"):
            pass
        with pytest.raises(StudyLockedError, match="clean-up"), hold_at_rest(home):
            pass


def test_a_lock_whose_folder_was_freed_is_taken_at_its_place(home: Home) -> None:
    """Else two processes hold one lock: one of a file that is gone, one of the file that is there."""
    lock = home.trial("a").path / "lock"
    moved: list[bool] = []

    def waiting() -> None:
        lock.parent.rename(home.path / "away")
        lock.parent.mkdir()
        os.close(holder)
        moved.append(True)

    lock.parent.mkdir(parents=True)
    import fcntl

    holder = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with wait_for_lock(lock, lambda: False, waiting) as held:
        assert held and moved
        with wait_for_lock(lock, lambda: True, lambda: None) as second:
            assert not second


# Kills


def test_a_kill_at_any_moment_leaves_a_trial_whole_or_gone(home: Home) -> None:
    """Every operation of the deletion in turn is the last one; the next gc clears what is left."""
    trial = put(home)
    whole = tree(home.trial(trial).path)
    pristine = home.path.with_name("pristine")
    shutil.copytree(home.path, pristine)
    ends = set()
    for last in range(40):
        shutil.rmtree(home.path)
        shutil.copytree(pristine, home.path)
        if not killed_after(home, trial, last):
            break
        left = tree(home.trial(trial).path) if home.trial(trial).path.exists() else set()
        assert left in (whole, set()), last
        ends.add(bool(left))
        gc(home, "--yes", "--kind", "leftovers")
        assert not list(home.path.glob(f"{AWAY}*"))
    assert ends == {True, False}
    assert not home.trial(trial).path.exists()


def killed_after(home: Home, trial: str, operations: int) -> bool:
    """Free a trial in a child that is killed before its operation of that number; false if it came to the end."""
    child = os.fork()
    if child == 0:
        try:
            left = operations
            for name in ("rename", "unlink", "rmdir", "mkdir"):
                operation = getattr(os, name)

                def counted(*args: Any, _do: Any = operation, **kwargs: Any) -> Any:
                    nonlocal left
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1
                    return _do(*args, **kwargs)

                setattr(os, name, counted)
            freeing.free(home, [Removable("trials", home.trial(trial).path, "", None, trial)])
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


# The command


def test_it_shows_first_and_frees_with_yes(home: Home) -> None:
    trial = put(home)
    write(home.trial(trial).processes / "job.json", 2048)
    plan(home, trial)
    before = tree(home.path)
    shown = gc(home)
    assert "leftovers: 1, 2 KiB: what killed processes left half-written" in shown
    assert f"{home.trial(trial).processes}  2 KiB: a killed process left it half-written" in shown
    assert "in all: 1 things, 2 KiB; add --yes to free it" in shown
    assert tree(home.path) == before
    assert "freed 2 KiB" in gc(home, "--yes")
    assert not home.trial(trial).processes.exists()


def test_json_names_everything(home: Home) -> None:
    trial = put(home)
    write(home.trial(trial).processes / "job.json", 7)
    plan(home, trial)
    told = json.loads(gc(home, "--json"))
    assert (told["version"], told["freed"], told["bytes"]) == (1, False, 7)
    assert told["kinds"]["leftovers"] == {"count": 1, "bytes": 7}
    assert told["items"][0]["trial"] == trial
    assert json.loads(gc(home, "--json", "--yes"))["freed"] is True
    assert not home.trial(trial).processes.exists()


def test_one_study_is_looked_at_alone(home: Home) -> None:
    mine, other = put(home), put(home, 1)
    for trial in (mine, other):
        write(home.trial(trial).processes / "job.json", 1)
    plan(home, mine)
    plan(home, other, study="other")
    assert found(home, study="demo") == {f"trials/{mine}/.launch": "leftovers"}
    assert "no study 'nobody' has been run" in gc(home, "nobody", code=2)


def test_what_cannot_be_freed_is_told_and_the_rest_goes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sorted([put(home), put(home, 1)])
    plan(home, first, second)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if first in str(path):
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    assert "Permission denied; check its permissions" in gc(home, "--trial", first, "--trial", second, "--yes", code=1)
    assert home.trial(first).done
    assert not home.trial(second).path.exists()


def test_an_empty_folder_is_no_error(home: Home) -> None:
    assert "nothing can be deleted" in gc(home)
    assert not home.path.exists()
