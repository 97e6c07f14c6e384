"""Whether study file, plan, ledger and trials tell of the same study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.analysis.looks import trials_due
from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger, Record, fold
from capo_bench.store.records import flatten
from capo_bench.store.walk import ABSENT
from capo_bench.study.errors import StudyErrors
from capo_bench.study.load import load_plan
from capo_bench.verify.checks import DAMAGE, Check

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

_OF_THE_STUDY = ("study", "question", "profile", "baseline", "start", "within", "looks", "metrics", "variants")


def check_plan(check: Check, plan: Plan, home: Home, sets: Sequence[str] | None, only: Sequence[str]) -> None:
    """Compare a plan with the ledger of its runs, and with the study file under these ``--set`` and ``--only``.

    Without `sets` (None), those of the last run are taken.
    """
    records = Ledger(home.study(plan.study).ledger).read()
    runs = [
        record for record in records if record["event"] == "study_started" and record.get("profile") == plan.profile
    ]
    if not runs:
        check.differs(f"studies/{plan.study}/ledger.jsonl", "no run", f"a run of profile {plan.profile!r}")
        return
    _check_ledger(check, plan, records, runs, whole=not only)
    file = home.study(plan.study).profile(plan.profile).study
    if not file.is_file():
        check.leave("the plan, whose study file is not there", len(plan.trials))
        return
    _check_study(check, plan, home, file, runs[-1].get("sets", ()) if sets is None else sets, only)


def _check_study(  # noqa: PLR0913, PLR0917 - a plan, and what it was made of
    check: Check, plan: Plan, home: Home, file: Path, sets: Sequence[str], only: Sequence[str]
) -> None:
    where = f"studies/{plan.study}/plan.json"
    try:
        again = trials_due(load_plan(file, plan.profile, sets, only), home)
    except (StudyErrors, *DAMAGE) as error:
        check.leave(f"the plan, for its study file cannot be expanded here ({str(error)[:200]})", len(plan.trials))
        return
    recorded, derived = plan.as_json(), again.as_json()
    for name in _OF_THE_STUDY:
        check.fields(f"{where}: {name}", flatten({"": recorded[name]}), flatten({"": derived[name]}))
    trials, wanted = ({(trial.variant, trial.seed): trial for trial in each.trials} for each in (plan, again))
    check.equal(f"{where}: variants and seeds", sorted(trials), sorted(wanted))
    for key in trials.keys() & wanted.keys():
        check.equal(f"{where}: settings of {key}", trials[key].config, wanted[key].config)


def _check_ledger(check: Check, plan: Plan, records: Sequence[Record], runs: Sequence[Record], *, whole: bool) -> None:
    """Compare the plan with what the ledger says of its runs; `whole`: no trials are left out of the plan."""
    where = f"studies/{plan.study}/ledger.jsonl"
    planned = {"metrics": list(plan.metrics), "baseline": plan.baseline, "question": plan.question}
    check.fields(f"{where}: last run", {name: runs[-1].get(name, ABSENT) for name in planned}, planned)
    ids = {trial.id for trial in plan.trials}
    started = {trial for run in runs for trial in run.get("plan", ())}
    check.equal(f"{where}: trials of the plan that no run had", sorted(ids - started), [])
    if whole:
        check.equal(
            f"{where}: trials of the last run that the plan lacks", sorted({*runs[-1].get("plan", ())} - ids), []
        )
    names = {variant.name for variant in plan.variants}
    entries = fold(records).trials
    for trial in plan.trials:
        entry = entries.get(trial.id)
        if entry is not None and entry.variant in names:  # a variant may have had another name
            check.equal(f"{where}: {trial.id} variant", trial.variant, entry.variant)
        if entry is not None:
            check.equal(f"{where}: {trial.id} seed", trial.seed, entry.seed)
