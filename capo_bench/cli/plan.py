"""``capo-bench plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import add_study_options
from capo_bench.cli.printing import print_json, print_text
from capo_bench.run.studies import StudyChoice, plan_of_file
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capo_bench.study.estimate import PlanEstimate
    from capo_bench.study.gpu_time import GpuCosts
    from capo_bench.study.plan import Plan, Variant

EPILOG = """\b
Examples:
  capo-bench plan voting
  capo-bench plan voting --profile full --only 'vote=majority*' --only seed=0
  capo-bench plan my-study.yaml --set train.steps=20 --json
"""


@click.command(epilog=EPILOG)
@add_study_options
@click.option("--full", is_flag=True, help="Show every variant, its settings and the ids of its trials.")
def plan(chosen: StudyChoice, home: Home, full: bool, as_json: bool) -> None:
    """Show the plan of STUDY: its variants, their trials and ids, what they share, and how long it takes.

    STUDY is a file, or the name of a study: a shipped one, or one in the results folder. Nothing is run or written.
    """
    from capo_bench.study.estimate import estimate
    from capo_bench.study.summary import plan_json

    planned = plan_of_file(chosen, home)
    taken = estimate(planned, home)
    least = estimate(planned.first_look, home) if planned.looks else None
    if as_json:
        print_json(plan_json(planned, taken, least))
    else:
        _show(planned, taken, least, home.path, full=full)


SCREEN_VARIANTS = 12
"""Maximum number of variants without ``--full``."""


def _show(planned: Plan, taken: PlanEstimate, least: PlanEstimate | None, home: Path, *, full: bool) -> None:
    from capo_bench.study.contamination import describe_contamination
    from capo_bench.study.served import list_served_critics

    print_text(f"{planned.study}: {planned.question}", bold=True)
    start = f", start: {planned.start}" if planned.start else ""
    print_text(f"profile: {planned.profile}, baseline: {planned.baseline}{start}")
    if least is not None:
        print_text(
            f"looks at {', '.join(map(str, planned.looks))} seeds; at least, if the first decides every variant:"
        )
        for line in _describe_costs(least, home):
            print_text(line, indent=2)
        print_text("at most, if the last look is taken with every variant:")
    for line in [
        *_describe_costs(taken, home),
        *_describe_machines(planned),
        *(f"critic {each.model}: served for the run on {each.place}" for each in list_served_critics(planned.trials)),
        *describe_contamination(planned),
    ]:
        print_text(line)
    print_text(f"metrics: {', '.join(planned.metrics)}")
    picked = {trial.variant for trial in planned.trials}
    variants = [variant for variant in planned.variants if variant.name in picked]
    print_text(f"{len(variants)} variants:")
    for variant in variants if full else variants[:SCREEN_VARIANTS]:
        _show_variant(variant, planned, full=full)
    if not full:
        more = len(variants) - SCREEN_VARIANTS
        print_text(f"{f'{more} more variants, settings' if more > 0 else 'settings'} and ids of trials: add --full")


def _show_variant(variant: Variant, planned: Plan, *, full: bool) -> None:
    """Print a variant's settings as YAML on one line; with `full`, one line per key, and the ids of its trials."""
    if not full:
        print_text(f"{variant.name}: {_format_yaml(dict(variant.overrides))}", indent=2)
        return
    ids = [f"{trial.seed}:{trial.id}" for trial in planned.trials if trial.variant == variant.name]
    settings = [f"{key}: {_format_yaml(value)}" for key, value in variant.overrides.items()]
    print_text(variant.name, indent=2)
    for line in (*settings, f"trials (seed:id): {' '.join(ids)}"):
        print_text(line, indent=4)


def _format_yaml(value: object) -> str:
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _describe_machines(planned: Plan) -> list[str]:
    """Return lines on each trained backbone: its GPUs, the division of its steps, and the memory."""
    from capo_bench.study.memory import describe_machine

    needed: dict[str, dict[str, None]] = {}
    for config in {trial.variant: trial.config for trial in planned.trials}.values():
        for division, *lines in filter(None, [describe_machine(config)]):
            needed.setdefault(division, {}).update(dict.fromkeys(lines))
    return [line for division, lines in needed.items() for line in (division, *lines)]


def _describe_costs(taken: PlanEstimate, home: Path) -> list[str]:
    from capo_bench.study.identity import SHARED_TITLES

    lines = [f"trials: {taken.trials}, of which {taken.done} done in {home}"]
    if taken.trained:
        lines.append(f"{taken.trained} of them only need evaluation: they are trained")
    for kind, title in SHARED_TITLES.items():
        made = [model for model in taken.preparations if model.kind == kind]
        for model in made:
            state = "done" if model.done else "to be trained"
            lines.append(f"{title} {model.key}: shared by {model.trials} trials, {state}")
        if len(made) > 1:
            lines.append(f"{title}s: {len(made)}, of which {sum(model.done for model in made)} done")
    lines += _describe_budgets(taken)
    lines.append(f"critic calls: {format_calls(taken.calls_known, taken.critic_calls)}")
    lines += [*_describe_gpus(taken.gpu)] if taken.gpu else [*_describe_time(taken)]
    if taken.unknown:
        lines.append(f"time left: not known for {taken.unknown} trials, until the first of each variant is done")
    return lines


def _describe_time(taken: PlanEstimate) -> Iterator[str]:
    from capo_bench.run.board import format_duration
    from capo_bench.run.devices import count_cores

    guessed = taken.trials - taken.done - taken.unknown
    if guessed:
        basis = f"{taken.measured} of {guessed} trials from finished ones, the others from a model of two CPU cores"
        workers = min(count_cores(), guessed)
        yield (
            f"time left: about {format_duration(taken.wall_seconds(workers))} with {workers} "
            f"worker{'s' * (workers > 1)}, {format_duration(taken.seconds)} of work ({basis})"
        )


def _describe_gpus(gpu: GpuCosts) -> Iterator[str]:
    """Yield lines on the time of trials on GPUs, with the assumptions."""
    from capo_bench.run.board import format_duration

    machine = gpu.machine
    parts = ", ".join(f"{kind} {format_duration(seconds)}" for kind, seconds in gpu.parts.items() if seconds)
    yield (
        f"time left: about {format_duration(gpu.wall_seconds)} on {gpu.gpus} GPU{'s' * (gpu.gpus > 1)} "
        f"({parts}, all trials one after another)"
    )
    yield (
        f"  by arithmetic, not measured: {machine.tflops:g} TFLOP/s a GPU, of which updates reach "
        f"{machine.update:.0%}, reading {machine.read:.0%}, writing {machine.write:.0%} (`machine` in the study)"
    )
    money = "no price given" if gpu.money is None else f"money: about {gpu.money:,.0f}"
    yield (
        f"critic tokens: about {gpu.critic_read / 1e6:,.1f} million read, {gpu.critic_written / 1e6:,.1f} million "
        f"written; GPU hours: about {gpu.gpu_hours:,.0f}; {money}"
    )


def format_calls(basis: str, number: int) -> str:
    """Return the number of critiques as text; `basis` is `PlanEstimate.calls_known`."""
    return f"{number:,}" if basis == "exactly" else f"{basis} {number:,}"


def _describe_budgets(taken: PlanEstimate) -> list[str]:
    variants: dict[str, list[str]] = {}
    for bounded in taken.bounded:
        limit = f"{bounded.limit:,.0f}" if bounded.limit < 1e9 else f"{bounded.limit:.3g}"
        budget = f"budget of a trial: {limit} {bounded.unit.replace('_', ' ')}, at most {bounded.most:,} steps"
        steps = "not known" if bounded.steps is None else f"about {bounded.steps:,}"
        variants.setdefault(budget, []).append(f"{bounded.variant} {steps}")
    return [f"{budget} ({', '.join(steps)})" for budget, steps in variants.items()]
