"""``capo-bench ls``."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import click

WIDTH = 100
NOTES = """
Times are estimates: two workers on two processor cores, nothing done yet (capo-bench plan STUDY
reckons with what is). GPUs are those that train one policy: a critic behind an endpoint needs its
own, and how long they take is known after the first trials."""
EPILOG = """\b
Examples:
  capo-bench ls
  capo-bench ls --json | jq '.[].profiles[] | select(.profile == "quick").seconds'
  capo-bench plan voting --profile full
"""


@click.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: profiles with seconds and gpus.")
def ls(as_json: bool) -> None:
    """List the shipped studies: name, question, and the size and cost of each profile."""
    from capo_bench.study.load import shipped_studies

    studies = [_study(name) for name in shipped_studies()]
    if as_json:
        click.echo(json.dumps(studies, indent=2, ensure_ascii=False))
        return
    for study in studies:
        title = f"{study['study']}: {study['question']}"
        click.echo(textwrap.fill(title, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
        for profile in study["profiles"]:
            click.echo(_line(profile))
    click.echo(NOTES)


def _study(name: str) -> dict[str, Any]:
    from capo_bench.study.estimate import estimate
    from capo_bench.study.load import check_study
    from capo_bench.study.summary import profile_costs

    plans = check_study(name)
    profiles = [profile_costs(plan, estimate(plan)) for plan in plans]
    return {"study": plans[0].study, "question": plans[0].question, "profiles": profiles}


def _line(of: dict[str, Any]) -> str:
    from capo_bench.cli.plan import calls

    asked = calls(of["critic_calls_known"], of["critic_calls"])
    size = f"{of['variants']:>3} variants {of['trials']:>4} trials"
    return f"    --profile {of['profile']:<6} {size} {asked:>19} critic calls   {_cost(of['gpus'], of['seconds'])}"


def _cost(gpus: list[int], seconds: float | None) -> str:
    """Say how many GPUs train a policy, where any does, and else how long the profile takes."""
    from capo_bench.cli.plan import minutes

    if gpus[-1]:
        few = f"{gpus[0]} to " if gpus[0] < gpus[-1] else ""
        return f"{few}{gpus[-1]} GPU{'s' * (gpus[-1] > 1)}"
    return "time not known" if seconds is None else f"about {minutes(seconds)}"
