"""The files of a fidelity: every step, every row, the tables, a figure a measure. Equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from capo_bench.analysis.fidelity import (
    Fidelity,
    Learning,
    ValuedStep,
    fidelity,
    learning,
)
from capo_bench.analysis.fidelity_frames import fidelity_frame, steps_frame
from capo_bench.store.home import Home, read_json, write_json
from evals.files import write_atomic

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


@dataclass(frozen=True)
class Fidelities:
    """What was measured of a study or a trial.

    Attributes:
        measured: Stored steps with their true advantages.
        rows: A row for each critic, way of credit and policy.
        learning: Fidelity beside learning, over variants.
        bound: |A| from which on a step matters.
        notes: What a reader must know.
    """

    measured: Sequence[ValuedStep]
    rows: Sequence[Fidelity]
    learning: Learning
    bound: float
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls, measured: Sequence[ValuedStep], plan: Plan, home: Home, bound: float, left_out: tuple[str, ...]
    ) -> Fidelities:
        """Work out the numbers."""
        reached = _reached(measured, plan, home)
        error = max(part.error for part in measured)
        notes = (
            f"Largest standard error of a true advantage: {error:.3f}, of {measured[0].samples} continuations a state.",
            "Rollouts of the last step were sampled one update before the trained policy, which goes on here.",
            "vineppo and spo are measured with 9 continuations a state that the true advantages do not share.",
            *(f"Left out: {line}." for line in left_out),
        )
        return cls(measured, fidelity(measured, bound), learning(measured, reached), bound, notes)


def _reached(measured: Sequence[ValuedStep], plan: Plan, home: Home) -> dict[str, float]:
    """Return the mean of the primary metric of each measured variant, over its finished trials."""
    metric = plan.metrics[0] if plan.metrics else ""
    found = dict[str, list[float]]()
    for trial in plan.trials:
        folder = home.trial(trial.id)
        value = read_json(folder.metrics)["metrics"].get(metric) if folder.done else None
        if value is not None:
            found.setdefault(trial.variant, []).append(value)
    return {name: fmean(found[name]) for name in {part.variant for part in measured} & found.keys()}


def write_fidelity(found: Fidelities, folder: Path) -> tuple[Path, ...]:
    """Write ``credit.csv``, ``credit.json``, ``steps.csv.gz`` and the figures into a folder, and return the paths."""
    from capo_bench.pages.fidelity import fidelity_figures

    table, whole, steps = folder / "credit.csv", folder / "credit.json", folder / "steps.csv.gz"
    frame = fidelity_frame(found.rows)
    write_atomic(table, frame.to_csv(index=False, lineterminator="\n"))
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    correlation = [None if value != value else value for value in found.learning.correlation]  # noqa: PLR0124 - NaN
    write_json(
        whole,
        {
            "version": 1,
            "bound": found.bound,
            "rows": rows,
            "learning": {**asdict(found.learning), "correlation": correlation},
            "notes": found.notes,
        },
    )
    steps_frame(found.measured).to_csv(steps, index=False, compression={"method": "gzip", "mtime": 0})
    figures = [(folder / "figures" / f"{figure.name}.svg", figure.svg) for figure in fidelity_figures(found.rows)]
    for path, drawing in figures:
        write_atomic(path, drawing)
    return table, whole, steps, *(path for path, _ in figures)
