"""``capo-bench export``."""

from __future__ import annotations

from pathlib import Path

import click

from capo_bench.cli.completion import complete_trial
from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json
from capo_bench.store.home import Home

EPILOG = """\b
Exit codes:
  0    written, and pushed if requested
  2    no such trial, it has not finished, or the hub refused it

\b
Examples:
  capo-bench export 3fa2 --out my-policy
  capo-bench export 3fa2 --out my-policy --push me/my-policy
  HF_ENDPOINT=https://hub.example capo-bench export 3fa2 --push me/my-policy --public
"""


@click.command(epilog=EPILOG)
@click.argument("trial", shell_complete=complete_trial)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: export-TRIAL]")
@click.option("--push", "repository", metavar="OWNER/NAME", help="Upload it to the hub, with the key in HF_TOKEN.")
@click.option("--public", is_flag=True, help="Make the pushed files public.  [default: private]")
@add_common_options
def export(  # noqa: PLR0913, PLR0917 - one parameter per option
    trial: str, out: Path | None, repository: str | None, public: bool, home: Home, as_json: bool
) -> None:
    """Write TRIAL's policy and its samples as a model and a data set, each with its card.

    TRIAL is an id, the beginning of one, or a folder. Nothing leaves this machine without --push. Values of variables
    that are named like secrets are removed from rollouts and samples.
    """
    from capo_bench.analysis.diff import find_trial
    from capo_bench.export.write import export_trial, push

    if public and repository is None:
        raise click.UsageError("--public decides who sees the pushed files: add --push OWNER/NAME, or leave it out")
    folder = find_trial(home, trial)
    made = export_trial(folder, out or Path(f"export-{folder.path.name}"))
    pushed = push(made, repository, private=not public) if repository else []
    folders = {name: str(path) for name, path in (("model", made.model), ("dataset", made.dataset)) if path}
    if as_json:
        print_json({"version": 1, "trial": folder.path.name, **folders, "pushed": pushed})
        return
    for name, path in folders.items():
        click.echo(f"{name}: {path}")
    for url in pushed:
        click.echo(f"pushed: {url}")
