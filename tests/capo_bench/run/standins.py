"""Trials that behave as their variant says, in real worker processes, without a model.

Also a program: ``python -m standins HOME WORKERS VARIANT… `` runs one seed of each variant, as the command line would.
"""

import asyncio
import ctypes
import errno
import io
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from capo_bench.run.progress import Display
from capo_bench.run.runner import RunOptions
from capo_bench.run.session import run_study
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, read_json, write_json
from capo_bench.store.ledger import Ledger
from capo_bench.study.plan import Plan, Trial, Variant
from evals.coins import COINS
from trainers.config import TrialConfig
from trainers.critics.base import Solution, Surroundings
from trainers.critics.serve import TAKEN

SOLUTION = Solution(COINS.problems("train", 1)[0], ("3", "4"))
SHARED = {"gpus": 0, "gpu_memory_utilization": 0.4}
SERVED = {"name": "openai", "model": "org/critic", "max_retries": 0, "serve": SHARED}
STEPS = 40
TASK, PREPARE = "standins:run_trial", "standins:ensure_shared"


def make_plan(variants, seeds=(0,), study="demo", cold=(), **config):
    """A plan whose trials are named variant-seed; those of the variants in `cold` share a cold start."""
    made = [
        Variant(name, {"train.steps": 10 + at}, _config(name in cold, 10 + at, config))
        for at, name in enumerate(variants)
    ]
    trials = [
        Trial(f"{variant.name}-{seed}", variant.name, seed, variant.config, {"seed": seed})
        for variant in made
        for seed in seeds
    ]
    return Plan(
        study=study, question="Does it run?", file="demo.yaml", profile="quick", baseline=variants[0], start=None,
        metrics=("coins_test/accuracy",), variants=tuple(made), trials=tuple(trials),
    )  # fmt: skip


def _config(cold, steps, config):
    base = {"train": {"steps": steps}, **config}
    return TrialConfig.model_validate(base if cold else {"cold_start": None, **base})


def finish(trial, home, accuracy=None):
    """Write what a finished trial leaves."""
    accuracy = 0.5 + trial.seed / 100 if accuracy is None else accuracy
    write_json(
        home.trial(trial.id).metrics, {"metrics": {"coins_test/accuracy": accuracy}, "cost": {"wall_seconds": 1.0}}
    )


def run_trial(trial, home, emit, stop, attempt=None):
    """Do what the first word of the variant's name says."""
    return {
        "ok": _ok, "slow": _slow, "fail": _fail, "die": _die, "exit": _exit, "lie": _lie, "chatty": _chatty,
        "stubborn": _stubborn, "env": _env, "orphan": _orphan, "segfault": _segfault, "flood": _flood, "leaky": _leaky,
        "shaky": _shaky, "hungry": partial(_hungry, attempt), "unreachable": _unreachable, "stuck": _stuck,
        "full": _full, "patient": _ok, "steady": _steady, "asks": _asks, "kills": partial(_asks, kill=True),
    }[trial.variant.split()[0]](trial, home, emit, stop)  # fmt: skip


def _ok(trial, home, emit, stop):
    emit({"kind": "stage", "stage": "train"})
    for step in (1, 2):
        emit({"kind": "step", "step": step, "of": 2, "metrics": {"outcome": 0.5}})
    finish(trial, home)
    return True


def _slow(trial, home, emit, stop):
    """Two seconds of steps; what a step adds to the result is saved at a stop and taken up again."""
    checkpoint = home.trial(trial.id).checkpoints / "state.json"
    state = read_json(checkpoint) if checkpoint.exists() else {"step": 0, "sum": 0}
    while state["step"] < STEPS:
        time.sleep(0.05)
        state = {"step": state["step"] + 1, "sum": state["sum"] + state["step"] * (trial.seed + 1)}
        emit({"kind": "step", "step": state["step"], "of": STEPS, "metrics": {"outcome": 0.25}})
        if stop() or state["step"] % 10 == 0:
            write_json(checkpoint, state)
        if stop():
            return False
    finish(trial, home, accuracy=state["sum"] / 10_000)
    return True


def _fail(trial, home, emit, stop):
    raise ValueError("the reward is not a number\nsecond line")


def _die(trial, home, emit, stop):
    os.kill(os.getpid(), signal.SIGKILL)
    return True


def _exit(trial, home, emit, stop):
    sys.exit(3)


def _lie(trial, home, emit, stop):
    return True


def _chatty(trial, home, emit, stop):
    sys.stdout.write("from python\n")
    os.system("echo from a child process; echo and its errors >&2")
    return _ok(trial, home, emit, stop)


def _steady(trial, home, emit, stop):
    """Go on until it is asked to save."""
    while not stop():
        time.sleep(0.05)
    write_json(home.trial(trial.id).checkpoints / "state.json", {"saved": True})
    return False


def _stubborn(trial, home, emit, stop):
    """Never stops by itself; starts a child that would outlive it."""
    child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    home.trial(trial.id).path.mkdir(parents=True, exist_ok=True)
    (home.trial(trial.id).path / "pids").write_text(f"{os.getpid()} {child}")
    while True:
        time.sleep(0.05)


def _env(trial, home, emit, stop):
    """Write down the process and its share of the cores."""
    write_json(home.trial(trial.id).path / "env.json", {**_environment(), "pid": os.getpid()})
    time.sleep(0.3)
    return _ok(trial, home, emit, stop)


def _environment():
    return {
        "threads": os.environ["OMP_NUM_THREADS"],
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "memory_taken": os.environ.get(TAKEN),
    }


def _shaky(trial, home, emit, stop):
    """Lose the process at the first try."""
    mark = home.trial(trial.id).path / "tried"
    if not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return _ok(trial, home, emit, stop)


def _hungry(attempt, trial, home, emit, stop):
    """Have memory for micro-batches of five."""
    emit({"kind": "stage", "stage": "train"})
    if (attempt.micro_batch or 16) > 5:
        raise MemoryError
    write_json(home.trial(trial.id).path / "tried.json", {"number": attempt.number, "micro_batch": attempt.micro_batch})
    return _ok(trial, home, emit, stop)


def _unreachable(trial, home, emit, stop):
    raise ConnectionRefusedError("nobody listens")


def _stuck(trial, home, emit, stop):
    emit({"kind": "stage", "stage": "train"})
    return _stubborn(trial, home, emit, stop)


def _full(trial, home, emit, stop):
    raise OSError(errno.ENOSPC, "No space left on device")


def _asks(trial, home, emit, stop, kill=False):
    """Ask the critic a question a step; a trial that `kills` also kills its server, once."""
    critic = trial.config.critic.build(Surroundings(COINS, trial.seed))
    write_json(home.trial(trial.id).path / "env.json", _environment())
    with asyncio.Runner() as loop:
        return _questions(trial, home, emit, stop, kill, lambda: loop.run(critic.critique([SOLUTION], 2)))


def _questions(trial, home, emit, stop, kill, ask):
    checkpoint = home.trial(trial.id).checkpoints / "state.json"
    step = read_json(checkpoint)["step"] if checkpoint.exists() else 0
    while step < 6:
        (critiques,) = ask()
        if any(critique.abstained for critique in critiques):
            raise ConnectionError(f"step {step}: {critiques[0].text}")
        step += 1
        write_json(checkpoint, {"step": step})
        emit({"kind": "step", "step": step, "of": 6, "metrics": {"outcome": len(critiques)}})
        if kill and step == 3:
            os.kill(servers_started()[-1]["pid"], signal.SIGKILL)
            time.sleep(0.2)
        if stop():
            return False
    finish(trial, home)
    return True


def servers_started():
    """What each start of the stand-in for vLLM wrote down."""
    path = Path(os.environ["STANDIN_VLLM"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _orphan(trial, home, emit, stop):
    """Tell that it has begun, then outlast any test unless the runner's death ends it."""
    home.trial(trial.id).path.mkdir(parents=True, exist_ok=True)
    (home.trial(trial.id).path / "pids").write_text(str(os.getpid()))
    time.sleep(600)
    return True


def _segfault(trial, home, emit, stop):
    ctypes.string_at(0)
    return True


def _flood(trial, home, emit, stop):
    for step in range(1, 5001):
        emit({"kind": "step", "step": step, "of": 5000, "metrics": {"outcome": step, "text": "x" * 200}})
    return _ok(trial, home, emit, stop)


def _leaky(trial, home, emit, stop):
    """Fail after leaving a mark in the process; the mark is found if another trial gets the same process."""
    write_json(home.trial(trial.id).path / "env.json", {"pid": os.getpid()})
    raise ValueError("CUDA error: device-side assert triggered")


def ensure_shared(kind, trial, home, emit):
    """Count the calls, and say which threads the shared model had."""
    folder = home.stage(kind, "counted")
    folder.mkdir(parents=True, exist_ok=True)
    emit({"kind": "preparing", "model": kind, "step": 1, "of": 2})
    if trial.variant.startswith("broken"):
        raise RuntimeError("no demonstrations")
    if trial.variant.startswith("endless"):
        time.sleep(600)
    if trial.variant.startswith("patient"):
        wait_until(home.trial("ok-0").metrics.exists)
    with (folder / "calls").open("a") as calls:
        calls.write(f"{trial.id} {os.environ['OMP_NUM_THREADS']}\n")
    return folder


class Session:
    """Runs plans of stand-in trials in one home and tells what happened."""

    def __init__(self, home):
        self.home = home
        self.shown = io.StringIO()

    def run(self, plan, **options):
        options = {"track": False, "task": TASK, "prepare": PREPARE} | options
        console = Display(file=self.shown, width=200)
        return run_study(plan, self.home, RunOptions(**options), console)

    def events(self, study="demo"):
        return [
            f"{record['event']} {record.get('trial', '')}".strip()
            for record in Ledger(self.home.study(study).ledger).read()
        ]

    def records(self, event, study="demo"):
        return [record for record in Ledger(self.home.study(study).ledger).read() if record["event"] == event]


def wait_until(what, seconds=20.0):
    """Wait until `what()` is true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def main():
    """Run one seed of each variant."""
    home, workers, *variants = sys.argv[1:]
    config = {"critic": SERVED} if any(name.startswith("asks") for name in variants) else {}
    options = RunOptions(workers=int(workers), retries=0, track=False, task=TASK, prepare=PREPARE)
    cold = [name for name in variants if name.startswith("endless")]
    try:
        result = run_study(make_plan(variants, cold=cold, **config), Home(Path(home)), options, Display(stderr=True))
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    sys.exit(result.exit_code)


if __name__ == "__main__":
    main()
