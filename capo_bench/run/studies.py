"""Find the study, and its plan, that a command's arguments name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evals.registry import suggest_similar

if TYPE_CHECKING:
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Plan


@dataclass(frozen=True)
class StudyChoice:
    """A study and the selection within it, from the arguments of a command.

    Attributes:
        word: Name of a study in the results folder or of a shipped study, or a path to a file.
        profile: Name of the profile; None: the profile of the last run, or quick.
        sets: ``"key=value"`` settings.
        only: Globs on variants and ``"seed=1"``.
    """

    word: str
    profile: str | None = None
    sets: Sequence[str] = ()
    only: Sequence[str] = ()


def plan_as_run(chosen: StudyChoice, home: Home) -> Plan:
    """Return the plan whose results a command reads: the plan of the last run in `home`, else that of the study's file.

    The plan is built from the file if there are any ``--set`` settings, or if the file has changed since that run.

    Raises:
        StudyErrors: The file or the arguments are invalid; lists all errors.
        RunError: The plan of the last run cannot be read.
    """
    from capo_bench.study.last_plan import read_last_plan
    from capo_bench.study.select import select

    name = _find_name(chosen.word, home)
    plan = None if chosen.sets or name is None else read_last_plan(home, name, chosen.profile)
    if plan is None or _has_changed(chosen.word, plan, home):
        return plan_of_file(chosen, home)
    return select(plan, chosen.only)


def plan_of_file(chosen: StudyChoice, home: Home) -> Plan:
    """Return the plan of a study's file; a study that exists only in the results folder uses the file of its last run.

    Raises:
        StudyErrors: The file or the arguments are invalid; lists all errors.
    """
    from capo_bench.study.load import load_plan
    from capo_bench.study.spec import DEFAULT_PROFILE

    file = find_study_file(chosen.word, chosen.profile, home)
    return load_plan(file, chosen.profile or DEFAULT_PROFILE, chosen.sets, chosen.only)


def find_study_file(word: str, profile: str | None, home: Home) -> str:
    """Return the argument of `load_plan` for a word: a shipped study's name, a file, or the file of the last run.

    Raises:
        StudyErrors: There is no such study.
    """
    from capo_bench.study.errors import Place, StudyError, StudyErrors
    from capo_bench.study.last_plan import read_last_plan
    from capo_bench.study.load import list_shipped_studies

    if word in list_shipped_studies() or Path(word).exists():
        return word
    if not _has_run(word, home):
        names = list_known_studies(home)
        rule = f"no such file, and no study of that name{suggest_similar(Path(word).stem, names)}"
        raise StudyErrors([StudyError(Place(word), rule, f"studies: {', '.join(names)}")])
    plan = read_last_plan(home, word, profile) or read_last_plan(home, word)
    kept = None if plan is None else home.study(word).profile(plan.profile).study
    return word if kept is None or not kept.is_file() else str(kept)


def list_known_studies(home: Home) -> list[str]:
    """Return the names of all studies that commands accept: those in the results folder, and the shipped ones."""
    from capo_bench.run.state import list_started_studies
    from capo_bench.study.load import list_shipped_studies

    return list(dict.fromkeys([*list_started_studies(home), *list_shipped_studies()]))


def _has_run(name: str, home: Home) -> bool:
    return "/" not in name and name not in {"", ".", ".."} and home.study(name).ledger.is_file()


def _find_name(word: str, home: Home) -> str | None:
    """Return the name of the study that a word refers to, if it was run in `home`; else None."""
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.load import read_study

    if _has_run(word, home):
        return word
    if not Path(word).is_file():
        return None
    try:
        name = read_study(word).study.name
    except StudyErrors:  # building its plan reports the errors
        return None
    return name if _has_run(name, home) else None


def _has_changed(word: str, plan: Plan, home: Home) -> bool:
    """Return whether a word is a file whose content differs from the content at the last run."""
    from capo_bench.study.last_plan import read_last_request

    return Path(word).is_file() and Path(word).read_text(encoding="utf-8") != read_last_request(home, plan).text
