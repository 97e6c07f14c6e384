"""Stage clocks, the disk, logs that rotate, the GPUs that are seen."""

import os
import subprocess
import sys

import pytest
import standins
from standins import make_plan

from capo_bench.run import limits
from capo_bench.run.devices import list_visible_gpus
from capo_bench.run.limits import DiskWatch, StageClock, check_disk, format_size
from capo_bench.run.logs import rotate, rotate_regularly
from capo_bench.run.runner import choose_workers, count_gpus_of_trials
from capo_bench.store.errors import RunError
from capo_bench.store.home import write_json


def test_a_stage_has_its_time_and_a_new_one_begins_anew():
    now = [0.0]
    clock = StageClock({"train": 10}, clock=lambda: now[0])
    clock.enter("a", "train")
    clock.enter("b", "generate")
    now[0] = 9
    clock.enter("a", "train")  # told again
    assert clock.overdue() == {}
    now[0] = 11
    assert list(clock.overdue()) == ["a"]
    assert "stage 'train' took longer than 10 s (--timeout train=" in clock.overdue()["a"]
    clock.enter("a", "generate")
    assert clock.overdue() == {}
    clock.enter("b", "train")
    now[0] = 30
    clock.leave("b")
    assert clock.overdue() == {}


def test_a_disk_that_is_nearly_full_is_told_with_the_way_out(tmp_path):
    assert not DiskWatch(tmp_path, 1).trouble()
    told = DiskWatch(tmp_path, 2**60).trouble()
    assert str(tmp_path) in told
    assert "--min-free" in told


def test_the_disk_is_not_looked_at_all_the_time(tmp_path):
    watch = DiskWatch(tmp_path, 2**60)
    assert watch.trouble()
    assert not watch.trouble()


def finished(home, trial, weights):
    """A trial that is done, with weights of so many bytes."""
    folder = home.trial(trial.id)
    write_json(folder.config, trial.as_json())
    standins.finish(trial, home)
    (folder.path / "weights").write_bytes(b"x" * weights)


def test_a_run_that_the_disk_cannot_hold_is_refused(home, monkeypatch):
    plan = make_plan(["ok", "ok 2"], seeds=(0, 1))
    check_disk(home, plan.trials, 1)
    finished(home, plan.trials[0], 20_000)
    check_disk(home, plan.trials, 1)
    free = limits.shutil.disk_usage(home.path)
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda path: free._replace(free=50_000))
    told = r"3 trials are pending and take about \d\d KiB, going by finished ones, and 49 KiB are free .*--min-free"
    with pytest.raises(RunError, match=told):
        check_disk(home, plan.trials[1:], 1)
    check_disk(home, plan.trials[1:3], 1)
    check_disk(home, [hub(plan), *plan.trials[1:3]], 1)  # nothing is known of what such a one takes


def test_sizes_in_words():
    assert [format_size(n) for n in (1, 2048, 3 * 2**20, 1.5 * 2**30)] == ["1 bytes", "2 KiB", "3 MiB", "1.5 GiB"]


def test_a_log_is_emptied_in_place_and_what_it_held_is_numbered(tmp_path):
    log = tmp_path / "a.log"
    with log.open("ab", buffering=0) as held:
        for word in (b"one", b"two", b"three"):
            held.write(word * 10)
            rotate(log, limit=20)
        held.write(b"rest")
    assert log.read_bytes() == b"rest"
    assert (tmp_path / "a.log.1").read_bytes() == (b"three" * 10)[-20:]
    assert (tmp_path / "a.log.2").read_bytes() == (b"two" * 10)[-20:]
    assert not (tmp_path / "a.log.3").exists()
    rotate(log, limit=20)
    assert log.read_bytes() == b"rest"


def test_a_log_that_is_not_there_needs_no_rotation(tmp_path):
    rotate(tmp_path / "none.log")
    assert not list(tmp_path.iterdir())


def test_what_a_process_prints_without_end_stays_bounded(tmp_path):
    log, limit = tmp_path / "flood.log", 100_000
    with rotate_regularly(log, limit), log.open("ab") as out:
        code = "import os, time\nfor _ in range(15):\n os.write(1, b'x' * 99_999 + b'\\n')\n time.sleep(0.1)"
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    kept = sum(path.stat().st_size for path in tmp_path.iterdir())
    # Between two looks at most eleven lines come; the numbered ones are held to the limit each.
    assert kept < 1_500_000 * 0.8
    assert log.stat().st_size <= limit


@pytest.mark.parametrize(
    ("listed", "seen"), [("0,2", ["0", "2"]), ("GPU-ab, GPU-cd", ["GPU-ab", "GPU-cd"]), ("", []), ("-1", [])]
)
def test_gpus_are_those_that_the_environment_lists(listed, seen):
    assert list_visible_gpus({"CUDA_VISIBLE_DEVICES": listed}) == seen


def test_gpus_are_those_that_the_driver_knows(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'GPU 0: NVIDIA X (UUID: GPU-1)'\necho '  MIG 1g'\necho 'GPU 1: NVIDIA X (UUID: …)'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert list_visible_gpus({}) == ["0", "1"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert list_visible_gpus({}) == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert list_visible_gpus({}) == []


def hub(plan, backbone="qwen2.5-1.5b"):
    config = plan.trials[0].config.model_copy(update={"backbone": backbone})
    return type(plan.trials[0])(**{**vars(plan.trials[0]), "config": config})


def test_a_trial_needs_what_its_backbone_says_and_a_machine_without_gpus_does_it_on_processors():
    plan = make_plan(["ok", "ok 2"])
    large = hub(plan)
    need = count_gpus_of_trials([large], None)[large.id]
    assert need >= 1
    assert count_gpus_of_trials([plan.trials[1], large], [])[large.id] == 0
    many = [str(n) for n in range(2 * need)]
    assert count_gpus_of_trials([plan.trials[1], large], many) == {plan.trials[1].id: 0, large.id: need}
    with pytest.raises(RunError, match=r"1 of them for critic\.serve"):
        count_gpus_of_trials([large], many[:need], served=1)
    assert choose_workers([large], 8, len(many)) == 2
    assert choose_workers([large], 8, 0) == 1
    whole = hub(plan, "qwen2.5-7b")
    assert count_gpus_of_trials([whole], None)[whole.id] == 8
    assert choose_workers([whole, large], 2, 8) == 8  # eight small ones side by side, or the large one alone
