"""``capo-bench plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import home_option, study_options

if TYPE_CHECKING:
    from rich.table import Table

    from capo_bench.study.estimate import Estimate
    from capo_bench.study.plan import Plan

EPILOG = """\b
Examples:
  capo-bench plan voting
  capo-bench plan voting --profile full --only 'vote=majority*' --only seed=0
  capo-bench plan my-study.yaml --set train.steps=20 --json
"""


@click.command(epilog=EPILOG)
@study_options
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(  # noqa: PLR0913, PLR0917 - the options of the command
    study: str, profile: str, sets: tuple[str, ...], only: tuple[str, ...], home: Path, as_json: bool
) -> None:
    """Show what STUDY would run: its variants, their trials and ids, what they share, and how long it takes.

    STUDY is a file, or the name of a shipped study. Nothing is run or written.
    """
    import json

    from capo_bench.home import Home
    from capo_bench.study.estimate import estimate
    from capo_bench.study.load import load_plan
    from capo_bench.study.summary import plan_json

    planned = load_plan(study, profile, sets, only)
    taken = estimate(planned, Home(home))
    if as_json:
        click.echo(json.dumps(plan_json(planned, taken), indent=2, ensure_ascii=False))
    else:
        _show(planned, taken, Home(home).path)


def _show(planned: Plan, taken: Estimate, home: Path) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{planned.study}: {planned.question}")
    start = f", start: {planned.start}" if planned.start else ""
    console.print(f"profile: {planned.profile}, baseline: {planned.baseline}{start}")
    console.print(f"metrics: {', '.join(planned.metrics)}")
    console.print(_table(planned))
    for line in [*_machines(planned), *_costs(taken, home)]:
        console.print(line)


def _table(planned: Plan) -> Table:
    from rich.table import Table

    table = Table("variant", "sets", "trials (seed:id)", show_lines=True)
    for variant in planned.variants:
        ids = [f"{trial.seed}:{trial.id}" for trial in planned.trials if trial.variant == variant.name]
        if ids:
            sets = "\n".join(f"{key} = {value}" for key, value in variant.overrides.items())
            shown = ids if len(ids) <= 6 else [*ids[:5], f"… {len(ids) - 5} more (--json)"]
            table.add_row(variant.name, sets, "\n".join(shown))
    return table


def _machines(planned: Plan) -> list[str]:
    """Say of each backbone that trains how many GPUs it needs, how its steps divide and what of a GPU they take."""
    from capo_bench.study.memory import machine_lines

    needed: dict[str, dict[str, None]] = {}
    for config in {trial.variant: trial.config for trial in planned.trials}.values():
        for division, *lines in filter(None, [machine_lines(config)]):
            needed.setdefault(division, {}).update(dict.fromkeys(lines))
    return [line for division, lines in needed.items() for line in (division, *lines)]


def _costs(taken: Estimate, home: Path) -> list[str]:
    from capo_bench.run.cores import available_cores
    from capo_bench.study.identity import SHARED_TITLES

    lines = [f"trials: {taken.trials}, of which {taken.done} done in {home}"]
    if taken.trained:
        lines.append(f"{taken.trained} of them only to be evaluated: their training is there")
    for made in taken.preparations:
        state = "done" if made.done else "to be trained"
        lines.append(f"{SHARED_TITLES[made.kind]} {made.key}: shared by {made.trials} trials, {state}")
    lines += _budgets(taken)
    lines.append(f"critic calls: {calls(taken.calls_known, taken.critic_calls)}")
    guessed = taken.trials - taken.done - taken.unknown
    if guessed:
        basis = f"{taken.measured} of {guessed} trials from finished ones, the others from a model of two CPU cores"
        workers = min(available_cores(), guessed)
        lines.append(
            f"time left: about {minutes(taken.wall_seconds(workers))} with {workers} "
            f"worker{'s' * (workers > 1)}, {minutes(taken.seconds)} of work ({basis})"
        )
    if taken.unknown:
        lines.append(f"time left: not known for {taken.unknown} trials; it is after the first of each variant")
    return lines


def calls(known: str, number: int) -> str:
    """Say how many critiques are asked for; `known` is `Estimate.calls_known`."""
    return f"{number:,}" if known == "exactly" else f"{known} {number:,}"


def _budgets(taken: Estimate) -> list[str]:
    """Say of each budget, in a line, after how many steps it ends the training of each variant."""
    told: dict[str, list[str]] = {}
    for one in taken.bounded:
        budget = f"budget of a trial: {one.limit:,.0f} {one.unit.replace('_', ' ')}, at most {one.most:,} steps"
        steps = "not known" if one.steps is None else f"about {one.steps:,}"
        told.setdefault(budget, []).append(f"{one.variant} {steps}")
    return [f"{budget} ({', '.join(steps)})" for budget, steps in told.items()]


def minutes(seconds: float) -> str:
    """Say a time in minutes, or in hours from an hour and a half on."""
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(seconds / 60, 0.1):.1f} min"
