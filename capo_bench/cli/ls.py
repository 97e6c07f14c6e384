"""``capo-bench ls``."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  capo-bench ls
  capo-bench plan voting --profile full
"""


@click.command(epilog=EPILOG)
def ls() -> None:
    """List the shipped studies: name, question, and the size of each profile."""
    from capo_bench.study.load import check_study, shipped_studies

    for name in shipped_studies():
        plans = check_study(name)
        click.echo(f"{name}: {plans[0].question}")
        for plan in plans:
            click.echo(f"    --profile {plan.profile}: {len(plan.variants)} variants, {len(plan.trials)} trials")
