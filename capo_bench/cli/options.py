"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def size_in_bytes(text: str) -> int:
    """Read an option's size: ``500MB``, ``1.5 GiB``, ``4096``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:([kmgt])(i?))?b?", text.strip(), re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r} is no size; write bytes with or without a unit, as in 500MB or 2GiB")
    number, unit, binary = match.groups()
    power = " kmgt".index((unit or " ").lower())
    return int(float(number) * (1024 if binary else 1000) ** power)


def study_options(command: Command) -> Command:
    """Add the study argument and the options that choose from it: passes `study`, `profile`, `sets`, `only`."""
    for decorate in reversed(
        [
            click.argument("study"),
            click.option("--profile", default="quick", show_default=True, help="Size of the study."),
            click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a key for all variants."),
            click.option("--only", multiple=True, metavar="PATTERN", help="Only variants like this, or only seed=N."),
        ]
    ):
        command = decorate(command)
    return command


def home_option(command: Command) -> Command:
    """Add the results folder: passes `home`, a path that need not exist."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        envvar="CAPO_BENCH_HOME",
        show_default=True,
        show_envvar=True,
        help="Folder of results.",
    )(command)
