"""What running a trial costs beside the trial, in local worker processes and through Ray on this machine.

The trials do nothing but leave their metrics. Two runs of different length tell the cost of a trial from the start of
the run. Run: ``python -m benchmarks.executors``.
"""

import io
import tempfile
import time
from pathlib import Path

from rich.console import Console

from capo_bench.run.runner import RunOptions
from capo_bench.run.session import run_study
from capo_bench.store.home import Home, write_json
from capo_bench.study.plan import Plan, Trial, Variant
from trainers.config import TrialConfig

FEW, MANY = 10, 110
TARGET_SECONDS = 1.5
TASK = "benchmarks.executors:run_trial"
KINDS = {
    "local": {},
    "ray, one results folder": {"executor": "ray"},
}


def run_trial(trial, home, emit, stop, attempt):  # noqa: ANN001, ANN201 - called by name
    write_json(home.trial(trial.id).config, {})
    write_json(home.trial(trial.id).metrics, {"metrics": {"coins_test/accuracy": 0.5}, "cost": {"wall_seconds": 0.0}})
    return True


def plan_of(trials: int) -> Plan:
    config = TrialConfig.model_validate({"cold_start": None})
    made = tuple(Trial(f"trial-{seed}", "nothing", seed, config, {}) for seed in range(trials))
    variant = Variant("nothing", {}, config)
    metrics = ("coins_test/accuracy",)
    return Plan("demo", "What does it cost?", "demo.yaml", "quick", "nothing", None, metrics, (variant,), made)


def seconds(trials: int, settings: dict[str, str]) -> float:
    """Return how long a run of so many trials takes on two workers."""
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(workers=2, track=False, task=TASK, **settings)  # type: ignore[arg-type]
        began = time.perf_counter()
        result = run_study(plan_of(trials), Home(Path(folder) / "runs"), options, Console(file=io.StringIO()))
        assert result.exit_code == 0
        return time.perf_counter() - began


def main() -> None:
    for kind, settings in KINDS.items():
        few, many = seconds(FEW, settings), seconds(MANY, settings)
        each = (many - few) / (MANY - FEW)
        print(
            f"{kind}: {1000 * each:.0f} ms a trial, {each / TARGET_SECONDS:.3f} of the target of {TARGET_SECONDS} s; "
            f"{few - FEW * each:.1f} s to start and end"
        )


if __name__ == "__main__":
    main()
