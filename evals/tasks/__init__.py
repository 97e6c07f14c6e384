"""List the tasks, one lm-eval YAML each, named after its file, and the suites, which name several tasks.

The file ``math500.yaml`` defines the task ``capo_math500``; files that begin with an underscore are included by others.
Packages add folders of such files by an entry point of the group `GROUP`, whose value is a package that contains them.
This module is light.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from evals.registry import UnknownNameError, suggest_similar

FOLDER = Path(__file__).parent
GROUP = "capo_bench.tasks"
PREFIX = "capo_"
"""Prefix of a task's name in lm-eval."""

_MATH = ("math500", "gsm8k", "aime24", "aime25", "amc23", "minerva_math", "olympiadbench")
_OOD = ("arc_challenge", "gpqa_diamond", "mmlu_pro")

SUITES: dict[str, tuple[str, ...]] = {
    "paper": (*_MATH, *_OOD),
    "math": _MATH,
    "ood": _OOD,
    "smoke": ("coins_test", "gsm8k", "math500", "arc_challenge"),
    "coins": ("coins_test", "coins_longer", "coins_distractors", "coins_unseen"),
}
"""Suite to its tasks, in evaluation order. Tasks that need log-likelihoods are in none, as endpoints lack them."""

LIMITS: dict[str, int] = {"smoke": 32}
"""Suites that are meant to be quick, to the number of problems per task if the user does not set it."""

SIZES: dict[str, int] = {
    "math500": 500, "gsm8k": 1319, "aime24": 30, "aime25": 30, "amc23": 40, "minerva_math": 272, "olympiadbench": 674,
    "arc_challenge": 1172, "gpqa_diamond": 198, "mmlu_pro": 12032,
}  # fmt: skip
"""Number of problems of shipped tasks as published, for the estimates of a plan."""


@cache
def list_task_files() -> dict[str, Path]:
    """Return the path of every task's YAML by the task's name, the shipped ones first.

    Raises:
        ValueError: Two folders contain a task of the same name, or an installed package's folder cannot be found.
    """
    files = _list_files(FOLDER)
    for point in entry_points(group=GROUP):
        for name, path in _list_files(_find_folder(point)).items():
            if name in files:
                raise ValueError(f"two folders hold the task {name!r}: {files[name]} and {path}; rename one of them")
            files[name] = path
    return files


TASKS: tuple[str, ...] = tuple(path.stem for path in sorted(FOLDER.glob("[!_]*.yaml")))
"""Names of the shipped tasks."""


ROWS = FOLDER / "_rows.yaml"
"""YAML of problems that a study defines by their rows."""


def find_task_file(name: str) -> Path:
    """Return the path of a task's YAML; for rows of a study, that of `ROWS`."""
    return list_task_files().get(name, ROWS)


def list_task_names(names: Iterable[str], own: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the tasks of names of suites and tasks, without duplicates, in order.

    Raises:
        UnknownNameError: A name is neither a suite nor a task; the message lists all such names, one per line.
    """
    names = list(names)
    valid = [*own, *SUITES, *list_task_files()]
    unknown = [
        f"unknown task or suite {name!r}{suggest_similar(name, valid)}; "
        f"suites: {', '.join(SUITES)}; tasks: {', '.join(list_task_files())}"
        for name in names
        if name not in valid
    ]
    if unknown:
        raise UnknownNameError("\n".join(unknown))
    return tuple(dict.fromkeys(task for name in names for task in SUITES.get(name, (name,))))


def limit_of(names: Sequence[str]) -> int | None:
    """Return the number of problems per task of the named suites; None if one of the names sets no limit."""
    limits = [LIMITS[name] for name in names if name in LIMITS]
    return min(limits) if limits and len(limits) == len(names) else None


def _list_files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("[!_]*.yaml"))}


def _find_folder(point: EntryPoint) -> Path:
    spec = find_spec(point.value)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ValueError(
            f"the folder of tasks {point.name!r} is registered as {point.value}, which is no package that can be "
            "found; install it again, or uninstall what registers it"
        )
    return Path(places[0])
