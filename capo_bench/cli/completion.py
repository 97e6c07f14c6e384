"""Complete studies, profiles and trials in the shell, if completion is enabled (docs/terminal.md)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem, split_arg_string

from capo_bench.run.studies import find_study_file, list_known_studies
from capo_bench.store.home import Home, read_json

if TYPE_CHECKING:
    import click


def complete_study(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the studies of the results folder, the shipped studies, and files."""
    names = [name for name in list_known_studies(_find_home(ctx)) if name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


def complete_profile(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the profiles of the study on the command line."""
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.load import read_study

    # click does not parse the study while an option lacks its value
    for word in split_arg_string(os.environ.get("COMP_WORDS", ""))[2:]:
        with suppress(StudyErrors):
            profiles = read_study(find_study_file(word, None, _find_home(ctx))).profiles
            return [CompletionItem(name) for name in profiles if name.startswith(incomplete)]
    return []


def complete_trial(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the trials of the results folder, with their variants and seeds."""
    items = []
    for path in sorted((_find_home(ctx).path / "trials").glob(f"{incomplete}*/config.json")):
        try:
            trial = read_json(path)
            items.append(CompletionItem(path.parent.name, help=f"{trial['variant']}, seed {trial['seed']}"))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return items


def _find_home(ctx: click.Context) -> Home:
    return ctx.params.get("home") or Home(Path("results"))
