"""Store and read the plan of a study's last run: its file, its variants, all its trials.

Commands that read results use it, so they see the plan of `run --set`, and also work after the study file is deleted or
changed. ``--only`` is not stored: a report lists what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, ProfileFolder, read_json, write_json
from capo_bench.store.ledger import Ledger, Record
from capo_bench.study.plan import Plan
from evals.files import write_atomic


@dataclass(frozen=True)
class RunRequest:
    """The request of a run: the text of the study file, and the values of ``--set``.

    Attributes:
        plan: Plan with the trials that ``--only`` excludes; None: the plan of the run.
        answered: Computes the answer, for tracking.
    """

    text: str = ""
    sets: Sequence[str] = ()
    plan: Plan | None = None
    answered: Callable[[Plan, Home], tuple[str, dict[str, float]]] | None = None


NOTHING_ASKED = RunRequest()


def keep_plan(plan: Plan, home: Home, asked: RunRequest) -> None:
    """Store the plan and the study file of a run that starts.

    Raises:
        RunError: The files cannot be written (disk full, read-only, no permission).
    """
    folder = home.study(plan.study).profile(plan.profile)
    try:
        write_json(folder.plan, (asked.plan or plan).as_json())
        write_atomic(folder.study, asked.text)
    except OSError as error:
        raise RunError(
            f"{folder.plan}: cannot keep the plan: {error.strerror}; free space or make the folder writable, then run "
            "again"
        ) from error


def read_last_plan(home: Home, study: str, profile: str | None = None) -> Plan | None:
    """Return the plan of a study's last run, with the given or else the last profile; None if it was not run.

    Raises:
        RunError: The stored plan cannot be read.
    """
    if profile is None:
        starts = _read_starts(home, study)
        profile = str(starts[-1].get("profile")) if starts else None
    return None if profile is None else read_plan(home.study(study).profile(profile))


def read_plan(folder: ProfileFolder) -> Plan | None:
    """Return the plan that is stored in a folder; None if there is none.

    Raises:
        RunError: The plan cannot be read.
    """
    if not folder.plan.is_file():
        return None
    try:
        return Plan.from_json(read_json(folder.plan))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{folder.plan}: no plan that this capo-bench can read ({str(error).splitlines()[0]}); delete it, and name "
            "the study's file with --profile and --set as they were run"
        ) from error


def read_last_request(home: Home, plan: Plan) -> RunRequest:
    """Return the request of the last run of a plan's study and profile; an empty request if it was not run."""
    starts = [record for record in _read_starts(home, plan.study) if record.get("profile") == plan.profile]
    file = home.study(plan.study).profile(plan.profile).study
    if not starts or not file.is_file():
        return NOTHING_ASKED
    return RunRequest(file.read_text(encoding="utf-8"), tuple(map(str, starts[-1].get("sets") or ())))


def _read_starts(home: Home, study: str) -> list[Record]:
    return [record for record in Ledger(home.study(study).ledger).read() if record["event"] == "study_started"]
