"""The tasks: one lm-eval YAML each, named after its file, and the suites that name several of them. Light.

The file ``math500.yaml`` holds the task ``capo_math500``; files that begin with an underscore are what others include.
Packages add folders of such files by an entry point of the group `GROUP`, whose value is a package that holds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from evals.registry import UnknownNameError, did_you_mean

FOLDER = Path(__file__).parent
GROUP = "capo_bench.tasks"
PREFIX = "capo_"
"""What lm-eval knows a task by is this and its name."""

_MATH = ("math500", "gsm8k", "aime24", "aime25", "amc23", "minerva_math", "olympiadbench")
_OOD = ("arc_challenge", "gpqa_diamond", "mmlu_pro")

SUITES: dict[str, tuple[str, ...]] = {
    "paper": (*_MATH, *_OOD),
    "math": _MATH,
    "ood": _OOD,
    "smoke": ("coins_test", "gsm8k", "math500", "arc_challenge"),
    "coins": ("coins_test", "coins_longer", "coins_distractors", "coins_unseen"),
}
"""Suite to its tasks, in the order of their evaluation. Log-likelihoods are in none: endpoints do not give them."""

LIMITS: dict[str, int] = {"smoke": 32}
"""Suites that are meant to be quick: so many problems of each task, where the user does not say how many."""

SIZES: dict[str, int] = {
    "math500": 500, "gsm8k": 1319, "aime24": 30, "aime25": 30, "amc23": 40, "minerva_math": 272, "olympiadbench": 674,
    "arc_challenge": 1172, "gpqa_diamond": 198, "mmlu_pro": 12032,
}  # fmt: skip
"""Problems of shipped tasks as they are published, for what a plan takes."""


@cache
def task_files() -> dict[str, Path]:
    """Return every task's YAML by the task's name, the shipped ones first.

    Raises:
        ValueError: Two folders hold a task of the same name, or an installed package's folder cannot be found.
    """
    files = _files(FOLDER)
    for point in entry_points(group=GROUP):
        for name, path in _files(_folder(point)).items():
            if name in files:
                raise ValueError(f"two folders hold the task {name!r}: {files[name]} and {path}; rename one of them")
            files[name] = path
    return files


TASKS: tuple[str, ...] = tuple(path.stem for path in sorted(FOLDER.glob("[!_]*.yaml")))
"""Names of the shipped tasks."""


ROWS = FOLDER / "_rows.yaml"
"""How problems are asked that a study names by their rows."""


def task_file(name: str) -> Path:
    """Return the YAML of a task, or of problems that a study names by their rows."""
    return task_files().get(name, ROWS)


def task_names(names: Iterable[str], own: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the tasks that are meant by names of suites and of tasks, each once, in order.

    Raises:
        UnknownNameError: A name is neither; all such names are told, one a line.
    """
    names = list(names)
    valid = [*own, *SUITES, *task_files()]
    unknown = [
        f"unknown task or suite {name!r}{did_you_mean(name, valid)}; "
        f"suites: {', '.join(SUITES)}; tasks: {', '.join(task_files())}"
        for name in names
        if name not in valid
    ]
    if unknown:
        raise UnknownNameError("\n".join(unknown))
    return tuple(dict.fromkeys(task for name in names for task in SUITES.get(name, (name,))))


def limit_of(names: Sequence[str]) -> int | None:
    """Return how many problems of each task the suites named are meant to take; None where nothing says."""
    limits = [LIMITS[name] for name in names if name in LIMITS]
    return min(limits) if limits and len(limits) == len(names) else None


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("[!_]*.yaml"))}


def _folder(point: EntryPoint) -> Path:
    spec = find_spec(point.value)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ValueError(
            f"the folder of tasks {point.name!r} is registered as {point.value}, which is no package that can be "
            "found; install it again, or uninstall what registers it"
        )
    return Path(places[0])
