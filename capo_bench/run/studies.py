"""From the words that choose a study to its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evals.registry import did_you_mean

if TYPE_CHECKING:
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Plan


@dataclass(frozen=True)
class StudyChoice:
    """A study and what of it, as a command is given them.

    The word is the name of a study in the results folder or of a shipped one, or a file. Without a profile it is the
    one that was last run, or quick.
    """

    word: str
    profile: str | None = None
    sets: Sequence[str] = ()
    only: Sequence[str] = ()


def plan_as_run(chosen: StudyChoice, home: Home) -> Plan:
    """Return the plan that a command reads results of: as it was last run in `home`, else as the study's file says.

    With any ``--set`` the plan is made anew.

    Raises:
        StudyErrors: All that is wrong with the file and the arguments.
        RunError: The plan that was last run cannot be read.
    """
    from capo_bench.study.last_plan import last_plan

    name = _name_of(chosen.word, home)
    plan = None if chosen.sets or name is None else last_plan(home, name, chosen.profile)
    if plan is None or _changed(chosen.word, plan, home):
        return plan_of_file(chosen, home)
    return _only(plan, chosen.only)


def plan_of_file(chosen: StudyChoice, home: Home) -> Plan:
    """Return the plan of a study's file; of a study that is only in the results folder, of the file that was last run.

    Raises:
        StudyErrors: All that is wrong with the file and the arguments.
    """
    from capo_bench.study.load import load_plan
    from capo_bench.study.spec import DEFAULT_PROFILE

    file = study_file(chosen.word, chosen.profile, home)
    return load_plan(file, chosen.profile or DEFAULT_PROFILE, chosen.sets, chosen.only)


def study_file(word: str, profile: str | None, home: Home) -> str:
    """Return what `load_plan` reads for a word: a shipped study's name, a file, or the file that was last run.

    Raises:
        StudyErrors: There is no such study.
    """
    from capo_bench.study.errors import Place, StudyError, StudyErrors
    from capo_bench.study.last_plan import last_plan
    from capo_bench.study.load import shipped_studies

    if word in shipped_studies() or Path(word).exists():
        return word
    if not _ran(word, home):
        names = known_studies(home)
        rule = f"no such file, and no study of that name{did_you_mean(Path(word).stem, names)}"
        raise StudyErrors([StudyError(Place(word), rule, f"studies: {', '.join(names)}")])
    plan = last_plan(home, word, profile) or last_plan(home, word)
    kept = None if plan is None else home.study(word).profile(plan.profile).study
    return word if kept is None or not kept.is_file() else str(kept)


def known_studies(home: Home) -> list[str]:
    """Return the names that a command takes for a study: those in the results folder, and the shipped ones."""
    from capo_bench.run.state import started_studies
    from capo_bench.study.load import shipped_studies

    return list(dict.fromkeys([*started_studies(home), *shipped_studies()]))


def _ran(name: str, home: Home) -> bool:
    return "/" not in name and name not in {"", ".", ".."} and home.study(name).ledger.is_file()


def _name_of(word: str, home: Home) -> str | None:
    """Return the name of the study that was run here; None where a word names none."""
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.load import read_study

    if _ran(word, home):
        return word
    if not Path(word).is_file():
        return None
    try:
        name = read_study(word).study.name
    except StudyErrors:  # reading its plan says what is wrong
        return None
    return name if _ran(name, home) else None


def _changed(word: str, plan: Plan, home: Home) -> bool:
    """Whether a word is a file that says something else than when the plan was run."""
    from capo_bench.study.last_plan import last_asked

    return Path(word).is_file() and Path(word).read_text(encoding="utf-8") != last_asked(home, plan).text


def _only(plan: Plan, only: Sequence[str]) -> Plan:
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.select import parse_only

    seeds = sorted({trial.seed for trial in plan.trials})
    pick, errors = parse_only(only, [variant.name for variant in plan.variants], seeds)
    if errors:
        raise StudyErrors(errors)
    looks = () if pick.seeds else plan.looks
    return replace(plan, trials=tuple(trial for trial in plan.trials if pick.takes(trial)), looks=looks)
