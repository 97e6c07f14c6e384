"""How long the harness takes over many finished trials: status and scan of 10,000, report and frames of 1,000.

    python -m benchmarks.scale [--trials 1000] [--samples 4] [--finished 10000] [--keep FOLDER]

Builds both homes of real files in the real form: 100 variants of CAPO × seeds, each trial with its settings,
provenance, 40 optimizer steps with stored rollouts and critiques, and samples of three tasks, the first of each problem
greedy. Their content is drawn from a small pool, as only their number and size matter. Commands are timed as a user
runs them, interpreter included.
The page of 10,000 rollouts is timed in the system's Chromium, from its address to the rollouts that it opens on.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capo_bench.run.runner import list_pending_trials
from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger
from capo_bench.store.ledger import _encode_line as ledger_line
from capo_bench.store.provenance import describe_environment
from capo_bench.study.last_plan import RunRequest, keep_plan
from capo_bench.study.load import load_plan
from capo_bench.study.plan import Plan, Trial
from evals.coins import COINS
from evals.harness.folder import Asked, TaskRecord, write_task
from evals.metrics import Sample, summarize
from evals.models.base import Usage
from trainers.credit.critique import Critique
from trainers.rollouts import Rollout, write_step

SCAN_TARGET, REPORT_TARGET, LOAD_TARGET, OPEN_TARGET = 1.0, 5.0, 2.0, 2.0
TASKS, PROBLEMS, STEPS, POOL = ("coins_test", "coins_longer", "coins_distractors"), 256, 40, 8
GROUP, GROUPS = 16, 6
CRITIQUES = (2, 4, 6, 8, 10)


def study(trials: int) -> str:
    """Return a study of 100 variants."""
    return f"""\
name: scale
question: How long does a report take?
baseline: vote=union,critiques=2,w_process=0.5
metrics: [{", ".join(f"{task}/accuracy" for task in TASKS)}]
base: {{critic: {{name: noisy}}, evaluation: {{problems: {PROBLEMS}}}}}
matrix:
  credit.vote: [intersection, majority, union, average]
  credit.critiques: {list(CRITIQUES)}
  credit.w_process: [0.5, 1.0, 1.5, 2.0, 2.5]
seeds: {list(range(max(1, trials // 100)))}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="build the homes here, or use those that are here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        scan(folder / "scan", arguments.finished)
        report(folder / "report", arguments.trials, arguments.samples)


def scan(folder: Path, trials: int) -> None:
    """Time what looks at every trial once."""
    home, path = Home(folder / "results"), _file(folder, trials)
    plan = load_plan(path)
    if not home.trial(plan.trials[-1].id).done:
        for trial in plan.trials:
            _write(home.trial(trial.id).metrics, json.dumps({"metrics": {}, "cost": {}}))
        _ledger(plan, home)
    print(f"{len(plan.trials)} finished trials, a ledger of {2 * len(plan.trials) + 1} lines, target {SCAN_TARGET} s")
    with timed("  pending trials", SCAN_TARGET):
        list_pending_trials(plan.trials, home)
    bare = _command("-c", "pass")
    print(f"  a Python that does nothing: {bare:.2f} s")
    for words in (["status"], ["status", "scale"], ["status", str(path)], ["status", "--json"]):
        _tell(f"  capo-bench {words[0]} {Path(words[-1]).name if words[1:] else ''}".rstrip(), words, home, SCAN_TARGET)


def report(folder: Path, trials: int, samples: int) -> None:
    """Time the report of a finished study: the first one, and again."""
    home, path = Home(folder / "results"), _file(folder, trials)
    plan = load_plan(path)
    if not home.trial(plan.trials[-1].id).done:
        began = time.perf_counter()
        _fill(plan, home, samples)
        _ledger(plan, home, finished=True)
        keep_plan(plan, home, RunRequest(path.read_text(encoding="utf-8")))
        print(f"built in {time.perf_counter() - began:.0f} s")
    lines = len(TASKS) * PROBLEMS * samples
    print(f"{len(plan.trials)} finished trials of {lines} samples and {STEPS} steps, target {REPORT_TARGET} s")
    for name in ("first", "again"):
        _tell(f"  capo-bench report, {name}", ["report", str(path)], home, REPORT_TARGET)
    _tell("  capo-bench run, of a finished study", ["run", str(path), "--no-tracking"], home, REPORT_TARGET)
    frames = (
        f"import capo_bench as cb; s = cb.load({str(path)!r}, home={str(home.path)!r}); s.trials, s.metrics, s.costs"
    )
    seconds = _command("-c", frames)
    print(f"  cb.load, with trials, metrics and costs: {seconds:.2f} s, {seconds / LOAD_TARGET:.2f} of the target")
    rollouts(home, path, folder / "rollouts.html")
    changed = home.trial(plan.trials[0].id).samples(TASKS[0])
    changed.write_bytes(changed.read_bytes())
    _tell("  capo-bench report, one trial's samples anew", ["report", str(path)], home, REPORT_TARGET)


def rollouts(home: Home, study: Path, page: Path) -> None:
    """Time the page of 10,000 rollouts: to write it, and to open it."""
    words = ["view", str(study), "--only", "seed=0", "--most", "10000", "--out", str(page)]
    _tell("  capo-bench view, 10,000 rollouts", words, home, REPORT_TARGET)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("  no chromium to open the page in")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        began = time.perf_counter()
        opened.goto(page.as_uri())
        opened.wait_for_selector("[data-ready]", state="attached")
        seconds, count = time.perf_counter() - began, opened.locator("#count").inner_text()
    size = page.stat().st_size / 1e6
    print(f"  opened, {count}, {size:.1f} MB: {seconds:.2f} s, {seconds / OPEN_TARGET:.2f} of the target")


def _tell(name: str, words: list[str], home: Home, target: float) -> None:
    before, seconds = _processor(), _command("-m", "capo_bench", *words, "--home", str(home.path))
    print(f"{name}: {seconds:.2f} s, {seconds / target:.2f} of the target ({_processor() - before:.2f} s of processor)")


def _command(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - began


def _processor() -> float:
    """Return the processor seconds of the commands so far, which other work on the machine does not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def timed(name: str, target: float) -> Iterator[None]:
    """Print how long the block took."""
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    print(f"{name}: {seconds:.2f} s, {seconds / target:.2f} of the target")


def _file(folder: Path, trials: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scale.yaml"
    path.write_text(study(trials), encoding="utf-8")
    return path


def _ledger(plan: Plan, home: Home, *, finished: bool = False) -> None:
    """Write a ledger as a run leaves it, without syncing every line."""
    scratch = Ledger(home.study(plan.study).path / "one.jsonl")
    scratch.append("study_started", profile=plan.profile, plan=[trial.id for trial in plan.trials], versions={})
    for trial in plan.trials[:1]:
        label = {"trial": trial.id, "variant": trial.variant, "seed": trial.seed}
        started = scratch.append("trial_started", **label, log=str(home.trial(trial.id).log))
        done = scratch.append("trial_done", **label, seconds=34.5)
    lines = [scratch.read()[0]]
    for trial in plan.trials:
        label = {"trial": trial.id, "variant": trial.variant, "seed": trial.seed}
        lines += [{**started, **label, "log": str(home.trial(trial.id).log)}, {**done, **label}]
    if finished:
        lines.append(scratch.append("study_finished", profile=plan.profile, tracked=False))
    scratch.path.unlink()
    _write(home.study(plan.study).ledger, b"".join(map(ledger_line, lines)).decode())


def _fill(plan: Plan, home: Home, samples: int) -> None:
    rng = random.Random(0)
    pool = {task: [_answers(task, samples, number) for number in range(POOL)] for task in TASKS}
    records = {task: _record(task) for task in TASKS}
    origin = {**describe_environment(), "verifier": "1", "fingerprints": {"benchmark": "ab12"}}
    stored = {count: _rollouts(home.path / "pool" / str(count), count) for count in CRITIQUES}
    for trial in plan.trials:
        folder = home.trial(trial.id)
        metrics: dict[str, float] = {}
        for task in TASKS:
            drawn = rng.randrange(POOL)
            _write(folder.completions(task) / "task.json", records[task])
            _write(folder.samples(task), pool[task][drawn][0])
            metrics |= {f"{task}/{name}": value for name, value in pool[task][drawn][1].items()}
        for name, data in stored[trial.config.credit.critiques].items():
            folder.rollouts.mkdir(parents=True, exist_ok=True)
            (folder.rollouts / name).write_bytes(data)
        _write(folder.steps, "".join(json.dumps(_step(number, rng)) + "\n" for number in range(1, STEPS + 1)))
        _write(folder.config, json.dumps(trial.as_json(), indent=2))
        _write(folder.provenance, json.dumps({**origin, "seed": trial.seed, "started": "a", "finished": "b"}, indent=2))
        _write(folder.metrics, json.dumps({"metrics": metrics, "cost": _cost(trial, rng)}, indent=2))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _answers(task: str, samples: int, number: int) -> tuple[str, dict[str, float]]:
    """Return the lines of a task's samples and their metrics."""
    rng = random.Random(f"{task}/{number}")
    drawn = [_sample(task, problem, sample, rng) for problem in range(PROBLEMS) for sample in range(samples)]
    return "".join(json.dumps(sample) + "\n" for sample in drawn), summarize(drawn)


def _sample(task: str, problem: int, number: int, rng: random.Random) -> Sample:
    right, steps = rng.random() < 0.3 + 0.4 * problem / PROBLEMS, rng.randint(3, 8)
    wrong = [step for step in range(steps) if rng.random() < (0.05 if right else 0.3)]
    lines = [f"{step} + 1 = {step + 1 + (step in wrong)}" for step in range(steps)]
    return {
        "problem": f"coins/{task}/0/{problem}", "decoding": "sampled" if number else "greedy",
        "sample": max(0, number - 1), "correct": right,
        "completion": "\n\n".join([*lines, "\\boxed{9}"]),
        "status": "right" if right else "wrong", "answer": "9", "tokens": 8 * steps, "truncated": False,
        "steps": steps, "wrong_steps": wrong, "follow_steps": [step for step in range(steps) if step - 1 in wrong],
    }  # fmt: skip


def _record(task: str) -> str:
    with tempfile.TemporaryDirectory() as name:
        asked = tuple(Asked(problem, problem.prompt) for problem in COINS.problems("test", PROBLEMS))
        write_task(Path(name), TaskRecord({"task": task}, "drawn", "coins", 0.0, asked))
        return (Path(name) / "task.json").read_text(encoding="utf-8")


def _rollouts(folder: Path, critiques: int) -> dict[str, bytes]:
    """Return the files of a training's stored rollouts."""
    rng = random.Random(critiques)
    for step in range(1, STEPS + 1):
        write_step(folder, step, 0, [_rollout(step, row, critiques, rng) for row in range(GROUP * GROUPS)])
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    for path in folder.iterdir():
        path.unlink()
    return files


def _rollout(step: int, row: int, critiques: int, rng: random.Random) -> Rollout:
    wrong = [rng.random() < 0.2 for _ in range(6)]

    def critique() -> Critique:
        flags = [rng.random() < (0.8 if slipped else 0.1) for slipped in wrong]
        return Critique(frozenset(place for place, flag in enumerate(flags) if flag), text="", usage=Usage(120, 60, 30))

    return Rollout(
        group=row // GROUP, problem=f"coins/train/{step}/{row // GROUP}", prompt="Ann has 3 coins.", answer="7",
        steps=tuple(f"{place} + 1 = {place + 1 + slipped}" for place, slipped in enumerate(wrong)), tokens=(8,) * 6,
        outcome=float(not any(wrong)), truth=frozenset(place for place, slipped in enumerate(wrong) if slipped),
        critiques=tuple(critique() for _ in range(critiques)),
    )  # fmt: skip


def _step(number: int, rng: random.Random) -> dict[str, Any]:
    names = (
        "wrong_step_rate", "flagged_step_rate", "penalised_tokens", "vote_agreement", "groups_without_outcome_signal",
        "groups_process_signal_only", "steps_per_response", "tokens_per_response", "truncated", "loss", "grad_norm",
        "entropy", "seconds_generate", "seconds_verify", "seconds_critique", "seconds_update", "critic_wait",
    )  # fmt: skip
    counts = {"critiques": 384, "abstained": 3, "policy_tokens": 4_608, "critic_tokens": 17_280, "of": STEPS}
    values = {name: rng.random() for name in names}
    return {"step": number, "seconds": 0.8, "outcome": 0.3 + 0.01 * number + rng.gauss(0, 0.03), **values, **counts}


def _cost(trial: Trial, rng: random.Random) -> dict[str, float]:
    each = trial.config.credit.critiques
    return {
        "wall_seconds": 34 + rng.random(), "policy_tokens": 184_320, "critic_tokens": 172_800 * each,
        "critiques": 3_840 * each, "abstained": 30 * each, "critique_seconds": 5.0, "critiques_reused": 12,
    }  # fmt: skip


if __name__ == "__main__":
    main()
