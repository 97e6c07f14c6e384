"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capo_bench.cli.completion import complete_profile, complete_study
from capo_bench.run.studies import StudyChoice, plan_as_run
from capo_bench.store.home import Home, TrialFolder

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

Command = Callable[..., Any]


def read_size(text: str) -> int:
    """Read the value of an option as bytes: ``500MB``, ``1.5 GiB``, ``4096``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:([kmgt])(i?))?b?", text.strip(), re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r} is no size; write bytes with or without a unit, as in 500MB or 2GiB")
    number, unit, binary = match.groups()
    power = " kmgt".index((unit or " ").lower())
    return int(float(number) * (1024 if binary else 1000) ** power)


def read_duration(text: str) -> float:
    """Read the value of an option as seconds: ``90``, ``90s``, ``1.5h``, ``30 m``, ``2d``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r} is no time; write seconds, or a number with s, m, h or d, as in 30m")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}[(match[2] or "s").lower()]


def read_stage_limit(text: str) -> tuple[str, float]:
    """Read ``STAGE=TIME``: a stage of a trial, and its time limit in seconds."""
    from capo_bench.run.stages import STAGES
    from evals.registry import suggest_similar

    stage, equals, time = text.partition("=")
    if not equals or stage.strip() not in STAGES[1:]:
        hint = suggest_similar(stage, list(STAGES[1:]))
        raise click.BadParameter(f"{text!r}{hint}: write STAGE=TIME with a stage of {', '.join(STAGES[1:])}")
    return stage.strip(), read_duration(time)


def choose_plan(chosen: StudyChoice, home: Home) -> tuple[Plan, TrialFolder | None]:
    """Return the plan of the named study, or a plan with only the named trial together with its folder.

    Raises:
        RunError: There is neither a study nor a trial with this name.
    """
    from capo_bench.analysis.diff import UnknownTrialError, find_trial, read_trial
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.plan import Plan, Variant

    try:
        folder = find_trial(home, chosen.word)
    except UnknownTrialError as no_trial:
        try:
            return plan_as_run(chosen, home), None
        except StudyErrors as errors:
            if not Path(chosen.word).exists() and re.fullmatch(r"[0-9a-f]+", chosen.word):
                raise no_trial from errors
            raise
    if chosen.sets or chosen.only:
        raise click.UsageError(f"{chosen.word!r} is a trial; --set and --only choose from a study")
    trial = read_trial(folder)
    title, variant = f"{trial.variant}, seed {trial.seed}", Variant(trial.variant, {}, trial.config)
    return Plan(title, "", "", "", trial.variant, None, (), (variant,), (trial,)), folder


def add_study_options(command: Command) -> Command:
    """Add the study argument, the options that select from it, and `add_common_options`; the command gets `chosen`."""

    @wraps(command)
    def choose(*, study: str, profile: str | None, sets: tuple[str, ...], only: tuple[str, ...], **others: Any) -> Any:
        return command(chosen=StudyChoice(study, profile, sets, only), **others)

    decorated: Command = choose
    for decorate in (
        add_common_options,
        click.option("--only", multiple=True, metavar="PATTERN", help="Only variants like this, or only seed=N."),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a key for all; KEY=A,B sweeps."),
        click.option(
            "--profile", shell_complete=complete_profile, help="Size of the study.  [default: as last run, or quick]"
        ),
        click.argument("study", shell_complete=complete_study),
    ):
        decorated = decorate(decorated)
    return decorated


def add_common_options(command: Command) -> Command:
    """Add ``--home`` and ``--json``; the command gets `home`, a folder that need not exist, and `as_json`."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        callback=lambda ctx, param, path: Home(path),
        envvar="CAPO_BENCH_HOME",
        show_default=True,
        show_envvar=True,
        help="Folder of results.",
    )(add_json_option(command))


def add_json_option(command: Command) -> Command:
    """Add ``--json``; the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(command)
