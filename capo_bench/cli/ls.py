"""``capo-bench ls``."""

from __future__ import annotations

from typing import Any

import click

from capo_bench.cli.options import add_json_option
from capo_bench.cli.printing import print_json, print_text

NOTES = (
    "Times are estimates: two workers on two processor cores, nothing done yet (capo-bench plan STUDY counts finished "
    "trials), or the GPUs that the study states, by arithmetic. GPUs are those that train one policy: a critic behind "
    "an endpoint needs its own."
)
EPILOG = """\b
Examples:
  capo-bench ls
  capo-bench ls --json | jq '.[].profiles[] | select(.profile == "quick").seconds'
  capo-bench plan voting --profile full
"""


@click.command(epilog=EPILOG)
@add_json_option
def ls(as_json: bool) -> None:
    """List the shipped studies: name, question, and the size and cost of each profile."""
    from capo_bench.study.load import list_shipped_studies

    studies = [_read_study(name) for name in list_shipped_studies()]
    if as_json:
        print_json(studies)
        return
    for study in studies:
        print_text(f"{study['study']}: {study['question']}", bold=True)
        for profile in study["profiles"]:
            print_text(_format_line(profile), indent=2)
    click.echo()
    print_text(NOTES)


def _read_study(name: str) -> dict[str, Any]:
    from capo_bench.study.estimate import estimate
    from capo_bench.study.load import check_study
    from capo_bench.study.summary import estimate_profile_costs

    plans = check_study(name)
    profiles = [estimate_profile_costs(plan, estimate(plan)) for plan in plans]
    return {"study": plans[0].study, "question": plans[0].question, "profiles": profiles}


def _format_line(of: dict[str, Any]) -> str:
    from capo_bench.cli.plan import format_calls

    asked = format_calls(of["critic_calls_known"], of["critic_calls"])
    size = f"{of['trials']:>3} trials {asked:>15} critiques"
    return f"--profile {of['profile']:<5} {size} {_format_cost(of['gpus'], of['seconds'])}"


def _format_cost(gpus: list[int], seconds: float | None) -> str:
    """Return the GPUs that train a policy, if any, and the time of the profile."""
    from capo_bench.run.board import format_duration

    time = "time not known" if seconds is None else f"about {format_duration(seconds)}"
    if not gpus[-1]:
        return time
    few = f"{gpus[0]}-" if gpus[0] < gpus[-1] else ""
    return f"{few}{gpus[-1]} GPU{'s' * (gpus[-1] > 1)}, {time}"
