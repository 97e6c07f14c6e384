"""``capo-bench status``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from capo_bench.cli.completion import complete_profile, complete_study
from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json, print_text
from capo_bench.run.studies import StudyChoice, plan_as_run
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.run.state import StudyStatus, TrialStatus


EPILOG = """\b
Exit codes:
  0  shown; with --watch: no study is running, or Ctrl-C
  2  bad input

\b
Examples:
  capo-bench status
  capo-bench status voting --watch
  capo-bench status voting --watch=30 --home elsewhere
  capo-bench status my_study.yaml --profile full
  capo-bench status voting --json | jq '.studies[0].counts'
"""

WATCH_SECONDS = 2.0


def _read_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no number of seconds; write STUDY before --watch") from None
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{text!r}: give seconds above 0")
    return seconds


@click.command(epilog=EPILOG)
@click.argument("study", required=False, shell_complete=complete_study)
@click.option("--profile", shell_complete=complete_profile, help="Size of the study.  [default: as last run, or quick]")
@add_common_options
@click.option(
    "--watch", type=_read_seconds, metavar="SECONDS", is_flag=False, flag_value=WATCH_SECONDS,
    help="Show it again every SECONDS (2) while a study runs; without a terminal, only changed lines.",
)  # fmt: skip
def status(study: str | None, profile: str | None, as_json: bool, watch: float | None, home: Home) -> None:
    """Show which trials are done, running, failed, stopped (with a checkpoint) or pending.

    STUDY is the name of a study in the results folder, as it was last run, or of a shipped one, or a file. Without it,
    every study in the results folder is shown. The command only reads files: use it while studies run, from anywhere.
    """
    if as_json and watch is None:
        print_json(_build_json(_read_studies(study, profile, home)))
    elif watch is None:
        _show(_read_studies(study, profile, home), home)
    else:
        _watch(lambda: _read_studies(study, profile, home), home, watch, as_json)


def _show(studies: list[StudyStatus], home: Home) -> None:
    from capo_bench.store.ledger import Ledger

    if not studies:
        click.echo(f"no study has been run in {home.path}; start one with: capo-bench run voting --home {home.path}")
    for item in studies:
        title, *lines = _describe_study(item)
        print_text(title, bold=True)
        for line in [*lines, *Ledger(home.study(item.name).ledger).damaged()]:
            print_text(line.strip(), indent=2)
    _print_critiques(home)


def _watch(look: Callable[[], list[StudyStatus]], home: Home, every: float, as_json: bool) -> None:
    """Show the studies that `look` returns until none is running, or until Ctrl-C."""
    redraw, shown = sys.stdout.isatty() and not as_json, ""
    try:
        while True:
            studies = look()
            if redraw:
                click.clear()
                _show(studies, home)
            elif (text := _format_update(studies, as_json)) != shown:
                shown = text
                click.echo(text)
                sys.stdout.flush()
            if not any(item.running for item in studies):
                return
            time.sleep(every)
    except KeyboardInterrupt:
        click.echo()


def _format_update(studies: list[StudyStatus], as_json: bool) -> str:
    return (
        json.dumps(_build_json(studies))
        if as_json
        else "\n".join(line for item in studies for line in _describe_study(item)[:2])
    )


def _read_studies(study: str | None, profile: str | None, home: Home) -> list[StudyStatus]:
    from capo_bench.run.state import list_started_studies, read_study_status

    if study is None:
        return [read_study_status(home, name, profile) for name in list_started_studies(home)]
    if profile is None and study in list_started_studies(home):
        return [read_study_status(home, study)]
    plan = plan_as_run(StudyChoice(study, profile), home)
    return [read_study_status(home, plan.study, plan.profile, plan.trial_ids)]


def _describe_study(study: StudyStatus) -> list[str]:
    """Return the lines on a study: its counts, its progress, and every running, failed or stopped trial."""
    from capo_bench.inert import for_terminal

    counts = [f"{count} {state}" for state, count in study.counts().items() if count]
    counts += [f"{study.retried} retried"] * bool(study.retried)
    end = "running now" if study.running else "not running"
    lines = [f"{study.name} ({study.profile}): {', '.join(counts) or 'no trials'}; {end}"]
    lines += [f"  {line}" for line in (_describe_pace(study), _describe_holder(study)) if line]
    if study.failure:
        lines.append(
            f"  last failure, {study.failure.entry.time}: {_name_trial(study.failure)}{_describe_error(study.failure)}"
        )
    for trial in study.trials:
        if trial.state in ("running", "failed", "stopped"):
            error = _describe_error(trial) if trial.entry.error else ""
            lines.append(f"  {trial.state} {_name_trial(trial)}{_describe_progress(trial)}{error}")
    return [for_terminal(line) for line in lines]


def _describe_pace(study: StudyStatus) -> str:
    from capo_bench.run.board import format_duration

    parts = ["{model}, step {step}/{of}".format(**made) for made in study.preparing]
    parts += [] if study.seconds_left is None else [f"about {format_duration(study.seconds_left)} left"]
    parts += [] if study.an_hour is None else [f"{study.an_hour:,.1f} trials an hour"]
    parts += [f"{number:,.0f} {who} tokens a second" for who, number in study.tokens.items() if number]
    return " · ".join(parts)


def _describe_holder(study: StudyStatus) -> str:
    holder = study.holder
    if holder is None or not holder.host:
        return ""
    seen = "" if holder.checked else "; its lock cannot be checked from here; it reported less than a minute ago"
    return f"run by {holder}{seen}"


def _name_trial(trial: TrialStatus) -> str:
    return f"{trial.entry.variant} seed {trial.entry.seed} ({trial.trial})"


def _describe_error(trial: TrialStatus) -> str:
    return f": {trial.entry.error} (log: {trial.entry.log})"


def _describe_progress(trial: TrialStatus) -> str:
    from capo_bench.run.board import describe_position, format_duration

    if not trial.now:
        return ""
    position = describe_position(trial.now)
    return f": {position}, {format_duration(trial.now['seconds'])}" if trial.state == "running" else f" at {position}"


def _build_json(studies: list[StudyStatus]) -> dict[str, Any]:
    return {"version": 1, "studies": [_build_study_json(item) for item in studies]}


def _build_study_json(study: StudyStatus) -> dict[str, Any]:
    return {
        "study": study.name,
        "profile": study.profile,
        "running": study.running,
        "counts": study.counts(),
        "retries": study.retried,
        "holder": study.holder and vars(study.holder),
        "seconds_left": study.seconds_left,
        "trials_an_hour": study.an_hour,
        "tokens_a_second": dict(study.tokens),
        "preparing": [dict(made) for made in study.preparing],
        "last_failure": study.failure and {**_build_trial_json(study.failure), "time": study.failure.entry.time},
        "trials": [
            _build_trial_json(trial) for trial in study.trials if trial.state in ("running", "failed", "stopped")
        ],
    }


def _build_trial_json(trial: TrialStatus) -> dict[str, Any]:
    entry, now = trial.entry, trial.now
    return {
        "trial": trial.trial, "variant": entry.variant, "seed": entry.seed, "state": trial.state,
        "attempt": now.get("attempt", entry.attempt), "error": entry.error, "log": entry.log,
        **{name: now.get(name) for name in ("stage", "task", "step", "of", "outcome", "seconds")},
    }  # fmt: skip


def _print_critiques(home: Home) -> None:
    if home.critiques is None or not home.critiques.exists():
        return  # before the imports, which take longer than all the rest
    from sqlite3 import Error

    from capo_bench.run.limits import format_size
    from trainers.critics.store import FILE, measure_store

    path = home.critiques / FILE
    try:
        held = measure_store(path)
    except (Error, OSError) as error:
        print_text(f"critique cache: cannot be read ({error}); runs do without it; to start a new one, delete {path}")
        return
    if held:
        sizes = f"{format_size(held.size)} of at most {format_size(held.limit)}"
        print_text(f"critique cache: {held.critiques:,} critiques, {sizes} (run --critique-cache-size sets the limit)")
