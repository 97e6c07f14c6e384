"""``capo-bench validate``."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  capo-bench validate ablations/voting.yaml
  capo-bench validate studies/*.yaml

Every profile of every file is expanded. Exit code 2 if anything is wrong.
"""


@click.command(epilog=EPILOG)
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...")
def validate(studies: tuple[str, ...]) -> None:
    """Check study files; say everything that is wrong with all of them at once."""
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.load import check_study

    errors = []
    for study in studies:
        try:
            plans = check_study(study)
        except StudyErrors as found:
            errors += found.items
        else:
            sizes = ", ".join(f"{plan.profile} {len(plan.trials)}" for plan in plans)
            click.echo(f"OK {plans[0].file}: {sizes} trials")
    if errors:
        raise StudyErrors(errors)
