"""Taking over what another trial has done: whole or not at all, and never of another training."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capo_bench.home import Home, TrialFolder, read_json, write_json
from capo_bench.run.reuse import (
    adopt_tasks,
    adopt_training,
    claimed,
    offer_tasks,
    offer_training,
    reused,
    task_donor,
    training_donor,
)
from capo_bench.study.identity import digest, generation_key, identity_of, training_key, trial_id, with_seed
from capo_bench.study.plan import Trial
from evals.benchmarks import Problem
from evals.fingerprint import weights_fingerprint
from evals.harness.folder import Asked, TaskRecord, json_line, write_task
from trainers.config import TrialConfig

TASKS = ("coins_test", "coins_longer")
FILES = ("steps.jsonl", "rollouts/00001.0.jsonl.gz", "training.json", "model/model.safetensors", "model/sub/more.json")


def make_trial(seed: int = 0, **changes: Any) -> Trial:
    tree = {"critic": {"name": "noisy"}, "evaluation": {"tasks": ["coins_test"]}, **changes}
    config = TrialConfig.model_validate(tree)
    parts = identity_of(config)
    return Trial(trial_id(digest(parts), seed), "v", seed, config, with_seed(parts, seed))


def trained(home: Home, trial: Trial, text: str = "theirs") -> TrialFolder:
    """What a training leaves."""
    folder = home.trial(trial.id)
    write_json(folder.config, trial.as_json())
    for name in FILES:
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text} {name}")
    offer_training(home, trial)
    return folder


def asked(home: Home, trial: Trial, task: str = "coins_test", lines: int = 2, **model: Any) -> Path:
    """What the generation of one task leaves, of two problems."""
    folder = home.trial(trial.id)
    write_json(folder.config, trial.as_json())
    model = model or {"weights": weights_fingerprint(folder.model)}
    problems = tuple(Asked(Problem(f"p/{number}", "1 + 1 = ?", "2"), "1 + 1 = ?") for number in range(2))
    identity = {"greedy": False, "samples": 1, "model": model}
    write_task(folder.evaluation / task, TaskRecord(identity, "", None, 0.0, problems))
    write(folder.evaluation / task, lines)
    offer_tasks(home, trial, [task])
    return folder.evaluation / task


def write(folder: Path, lines: int, failure: str | None = None) -> None:
    told = [
        {
            "problem": f"p/{number}",
            "decoding": "sampled",
            "sample": 0,
            "completion": "2",
            "tokens": 1,
            "truncated": False,
            "failure": failure,
        }
        for number in range(lines)
    ]
    text = "".join(json_line({**line, "batch": number, "batch_size": 1}) for number, line in enumerate(told))
    (folder / "generations.jsonl").write_text(text)
    (folder / "timing.jsonl").write_text(
        "".join(json_line({"batch": n, "seconds": 0.5, "cpu_seconds": 0.25}) for n in range(lines))
    )


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def donor() -> Trial:
    return make_trial()


@pytest.fixture
def heir() -> Trial:
    """It shares the donor's training and its completions of one task, and is asked another task too."""
    return make_trial(evaluation={"tasks": [*TASKS]})


# -- training


def test_all_that_training_left_is_linked(home: Home, donor: Trial, heir: Trial) -> None:
    theirs, ours = trained(home, donor), home.trial(heir.id)
    assert adopt_training(home, heir)
    assert content(ours.path) == {
        **{name: f"theirs {name}" for name in FILES},
        "reused.json": (ours.path / "reused.json").read_text(),
    }
    assert all((ours.path / name).samefile(theirs.path / name) for name in FILES)
    assert reused(ours, TASKS) == {"train": donor.id}


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation": {"tasks": ["coins_longer"]}},
        {"evaluation": {"tasks": [*TASKS], "problems": 7}},
        {"evaluation": {"tasks": ["coins_test"], "segmenter": "lines"}},
    ],
)
def test_another_evaluation_takes_the_training_over(home: Home, donor: Trial, changes: Any) -> None:
    trained(home, donor)
    assert adopt_training(home, make_trial(**changes))


@pytest.mark.parametrize("changes", [{"train": {"steps": 7}}, {"method": "grpo_rule"}, {"critic": {"name": "exact"}}])
def test_another_training_does_not(home: Home, donor: Trial, changes: Any) -> None:
    trained(home, donor)
    other = make_trial(**changes)
    assert not adopt_training(home, other)
    assert not adopt_training(home, make_trial(seed=1))
    assert not home.trial(other.id).path.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", '{"trial": 7}', '{"trial": null}', '{"trial": "gone"}', "\xff"]
)
def test_an_index_that_says_nothing_is_as_good_as_none(home: Home, donor: Trial, heir: Trial, text: str) -> None:
    trained(home, donor)
    home.stage(training_key(donor.identity, 0)).write_text(text, encoding="latin-1")
    assert training_donor(home, heir) is None
    assert not adopt_training(home, heir)


def test_a_donor_must_be_there_whole_and_what_the_index_says(home: Home, donor: Trial, heir: Trial) -> None:
    folder = trained(home, donor)
    assert training_donor(home, heir) == folder
    folder.model.rename(folder.path / ".model")  # at work on it
    assert training_donor(home, heir) is None
    (folder.path / ".model").rename(folder.model)
    config = read_json(folder.config)
    write_json(folder.config, {**config, "seed": 1})
    assert training_donor(home, heir) is None
    folder.config.unlink()
    assert training_donor(home, heir) is None
    shutil.rmtree(folder.path)
    assert training_donor(home, heir) is None


def test_a_trial_is_not_its_own_donor(home: Home, donor: Trial) -> None:
    trained(home, donor)
    assert training_donor(home, donor) is None
    asked(home, donor)
    assert task_donor(home, donor, "coins_test") is None


def test_what_was_begun_here_goes(home: Home, donor: Trial, heir: Trial) -> None:
    trained(home, donor)
    (home.trial(donor.id).training).unlink()
    ours = trained(home, heir, "ours")
    shutil.rmtree(ours.model)
    write_json(ours.checkpoints / "resume.json", {"checkpoint": "checkpoint-1", "step": 1})
    (ours.evaluation / "coins_test").mkdir(parents=True)
    (ours.rollouts / "00002.0.jsonl.gz").write_text("a step that the donor has not")
    assert adopt_training(home, heir)
    kept = {name: f"theirs {name}" for name in FILES if name != "training.json"}
    assert content(ours.path) == kept | {
        name: (ours.path / name).read_text() for name in ("config.json", "reused.json")
    }
    assert not ours.checkpoints.exists()
    assert not ours.evaluation.exists()


def test_a_method_that_leaves_a_model_alone_can_be_taken_over(home: Home, donor: Trial, heir: Trial) -> None:
    folder = trained(home, donor)
    for path in (folder.steps, folder.training):
        path.unlink()
    shutil.rmtree(folder.rollouts)
    assert adopt_training(home, heir)
    assert not home.trial(heir.id).steps.exists()


def test_across_file_systems_files_are_copied(home: Home, donor: Trial, heir: Trial) -> None:
    theirs, elsewhere = trained(home, donor), Path("/dev/shm") / f"capo-bench-{os.getpid()}"
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == home.path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    try:
        shutil.copytree(theirs.path, elsewhere)
        shutil.rmtree(theirs.path)
        theirs.path.symlink_to(elsewhere)
        assert adopt_training(home, heir)
        ours = home.trial(heir.id)
        assert all((ours.path / name).read_text() == f"theirs {name}" for name in FILES)
        assert not any((ours.path / name).samefile(elsewhere / name) for name in FILES)
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


def test_a_full_disk_is_told(home: Home, donor: Trial, heir: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    trained(home, donor)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left") as caught:
        adopt_training(home, heir)
    assert caught.value.errno == errno.ENOSPC
    assert content(home.trial(heir.id).path) == {}


def test_a_donor_that_is_deleted_meanwhile_is_none(
    home: Home, donor: Trial, heir: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, link = trained(home, donor), os.link
    ours = trained(home, heir, "ours")
    shutil.rmtree(ours.model)
    before = content(ours.path)

    def deleting(source: Path, target: Path) -> None:
        if source.name == "model.safetensors":
            shutil.rmtree(theirs.path)
        link(source, target)

    monkeypatch.setattr(os, "link", deleting)
    assert not adopt_training(home, heir)
    assert content(ours.path) == before


def test_the_donor_keeps_its_files_when_the_heir_trains_anew(home: Home, donor: Trial, heir: Trial) -> None:
    from capo_bench.run.training import read_steps
    from trainers.rollouts import drop_after

    theirs = trained(home, donor)
    before = content(theirs.path)
    assert adopt_training(home, heir)
    ours = home.trial(heir.id)
    shutil.rmtree(ours.model)
    drop_after(ours.rollouts, 0)
    ours.steps.unlink()
    ours.steps.write_text('{"step": 1}\n')
    assert read_steps(ours) == [{"step": 1}]
    assert content(theirs.path) == before


# -- killed at any moment


def killed(work: Callable[[], object], moment: int) -> bool:
    """Do the work in a process that is killed just before its n-th change of the file system; whether it was."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def hook(event: str, _: object) -> None:
            if event in {"os.link", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}:
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        sys.addaudithook(hook)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_training_that_is_taken_over_is_there_whole_or_not_at_all(home: Home, donor: Trial, heir: Trial) -> None:
    trained(home, donor)
    whole = Home(home.path.with_name("whole"))
    shutil.copytree(home.path, whole.path)
    assert adopt_training(whole, heir)
    expected = content(whole.trial(heir.id).path)
    ours, moment = home.trial(heir.id), 0
    while killed(lambda: adopt_training(home, heir), moment):
        if ours.model.exists():
            found = {name: text for name, text in content(ours.path).items() if not name.startswith(".reused/")}
            assert found == expected
        else:
            assert adopt_training(home, heir)
            assert content(ours.path) == expected
        shutil.rmtree(ours.path)
        moment += 1
    assert moment > 10
    assert content(ours.path) == expected


def test_a_task_that_is_taken_over_is_there_whole_or_not_at_all(home: Home, donor: Trial, heir: Trial) -> None:
    trained(home, donor)
    theirs = asked(home, donor)
    model = str(home.trial(donor.id).model)
    ours = home.trial(heir.id)
    moment = 0
    while killed(lambda: adopt_tasks(home, heir, model, ["coins_test"]), moment):
        if (ours.evaluation / "coins_test").exists():
            assert reused(ours, TASKS) == {"generate": {"coins_test": donor.id}}
            assert (ours.evaluation / "coins_test" / "generations.jsonl").samefile(theirs / "generations.jsonl")
        shutil.rmtree(ours.path, ignore_errors=True)
        moment += 1
    assert moment > 5


# -- completions


def test_the_completions_of_a_task_are_linked_and_its_scores_are_not(home: Home, donor: Trial, heir: Trial) -> None:
    trained(home, donor)
    theirs = asked(home, donor)
    for name in ("samples.jsonl", "result.json"):
        (theirs / name).write_text("scored in another way")
    assert adopt_training(home, heir)
    ours = home.trial(heir.id)
    adopt_tasks(home, heir, str(ours.model), TASKS)
    names = {"task.json", "generations.jsonl", "timing.jsonl"}
    assert {path.name for path in (ours.evaluation / "coins_test").iterdir()} == names | {"reused.json"}
    assert all((ours.evaluation / "coins_test" / name).samefile(theirs / name) for name in names)
    assert not (ours.evaluation / "coins_longer").exists()
    assert reused(ours, TASKS) == {"train": donor.id, "generate": {"coins_test": donor.id}}


def test_completions_that_were_begun_here_are_replaced(home: Home, donor: Trial, heir: Trial) -> None:
    trained(home, donor)
    theirs = asked(home, donor)
    assert adopt_training(home, heir)
    ours = home.trial(heir.id)
    own = asked(home, heir, lines=1)
    (own / "samples.jsonl").write_text("old")
    adopt_tasks(home, heir, str(ours.model), ["coins_test"])
    assert (own / "generations.jsonl").read_bytes() == (theirs / "generations.jsonl").read_bytes()
    assert not (own / "samples.jsonl").exists()


@pytest.mark.parametrize("lines", [0, 1])
def test_completions_that_are_missing_make_no_donor(home: Home, donor: Trial, heir: Trial, lines: int) -> None:
    asked(home, donor, lines=lines, weights=None)
    assert task_donor(home, heir, "coins_test") is None


def test_completions_that_failed_make_no_donor(home: Home, donor: Trial, heir: Trial) -> None:
    folder = asked(home, donor, weights=None)
    assert task_donor(home, heir, "coins_test") is not None
    write(folder, 2, failure="the endpoint was away")  # asked for again one day, in place
    assert task_donor(home, heir, "coins_test") is None


@pytest.mark.parametrize("name", ["task.json", "generations.jsonl"])
@pytest.mark.parametrize("text", ["", "{", "{}\n", "[]\n", '{"problem": 1}\n'])
def test_a_damaged_folder_makes_no_donor(home: Home, donor: Trial, heir: Trial, name: str, text: str) -> None:
    (asked(home, donor, weights=None) / name).write_text(text)
    assert task_donor(home, heir, "coins_test") is None


def test_completions_of_other_weights_are_not_taken(home: Home, donor: Trial, heir: Trial) -> None:
    """The same training on an accelerator, done twice."""
    trained(home, donor)
    asked(home, donor)
    ours = trained(home, heir, "nearly theirs")
    adopt_tasks(home, heir, str(ours.model), ["coins_test"])
    assert not ours.evaluation.exists()
    shutil.rmtree(ours.model)
    shutil.copytree(home.trial(donor.id).model, ours.model)
    adopt_tasks(home, heir, str(ours.model), ["coins_test"])
    assert (ours.evaluation / "coins_test").exists()


def test_completions_of_a_model_from_a_hub_are_known_by_their_key(home: Home, donor: Trial, heir: Trial) -> None:
    asked(home, donor, model="org/model", revision="abc")
    adopt_tasks(home, heir, "org/model", ["coins_test"])
    assert reused(home.trial(heir.id), TASKS) == {"generate": {"coins_test": donor.id}}


def test_an_adapter_is_known_by_its_own_weights(home: Home, donor: Trial, heir: Trial, tmp_path: Path) -> None:
    from evals.fingerprint import adapter_fingerprint

    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4}))
    (tmp_path / "adapter_model.safetensors").write_text("theirs")
    asked(home, donor, weights="of the base", adapter=adapter_fingerprint(tmp_path))
    adopt_tasks(home, heir, str(tmp_path), ["coins_test"])
    assert (home.trial(heir.id).evaluation / "coins_test").exists()
    shutil.rmtree(home.trial(heir.id).evaluation)
    (tmp_path / "adapter_model.safetensors").write_text("ours")
    adopt_tasks(home, heir, str(tmp_path), ["coins_test"])
    assert not home.trial(heir.id).evaluation.exists()


# -- the index


def test_the_first_that_is_whole_stays_named_as_long_as_it_is_there(home: Home, donor: Trial, heir: Trial) -> None:
    index = home.stage(training_key(donor.identity, 0))
    theirs = trained(home, donor)
    trained(home, heir)
    assert read_json(index) == {"trial": donor.id}
    shutil.rmtree(theirs.path)
    offer_training(home, heir)
    assert read_json(index) == {"trial": heir.id}


def test_completions_are_named_task_by_task(home: Home, donor: Trial, heir: Trial) -> None:
    asked(home, donor, weights=None)
    asked(home, heir, weights=None)
    asked(home, heir, "coins_longer", weights=None)
    named = {task: read_json(home.stage(generation_key(heir.identity, task, 0))) for task in TASKS}
    assert named == {"coins_test": {"trial": donor.id}, "coins_longer": {"trial": heir.id}}


def test_who_did_all_itself_reused_nothing(home: Home, donor: Trial) -> None:
    trained(home, donor)
    asked(home, donor)
    assert reused(home.trial(donor.id), TASKS) == {}


# -- one works, the others wait


def never() -> bool:
    return False


def test_a_stage_is_held_by_one_at_a_time(home: Home, until: Any) -> None:
    waiting, order = threading.Event(), []

    def second() -> None:
        with claimed(home, ["b", "a"], never, waiting.set) as held:
            order.append(("second", held))

    other = threading.Thread(target=second)
    with claimed(home, ["a"], never, lambda: None) as held:
        other.start()
        assert waiting.wait(20)
        order.append(("first", held))
    other.join(20)
    assert order == [("first", True), ("second", True)]


def test_who_is_stopped_while_waiting_does_not_hold_it(home: Home) -> None:
    with claimed(home, ["a"], never, lambda: None), claimed(home, ["b", "a"], lambda: True, lambda: None) as held:
        assert not held
    with claimed(home, ["a", "b"], never, lambda: None) as held:
        assert held


def test_nothing_to_hold_is_held(home: Home) -> None:
    with claimed(home, [], never, lambda: None) as held:
        assert held


def test_two_that_want_the_same_stages_do_not_wait_for_each_other(home: Home) -> None:
    done: list[int] = []

    def want(keys: list[str]) -> None:
        for _ in range(3):
            with claimed(home, keys, never, lambda: None) as held:
                assert held
        done.append(1)

    threads = [threading.Thread(target=want, args=(keys,)) for keys in (["a", "b", "c"], ["c", "b", "a"], ["b", "a"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 3
