"""Verify a study in a bundle or in a results folder.

Derived files go into a temporary results folder. Completions, rollouts and step records are links to the given ones;
samples, results, metrics and costs are computed again from them, and the report is built from these. So the code that
writes reports also checks every number of a report.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.bundle.extract import Tell, extract
from capo_bench.bundle.manifest import BundleError, Manifest
from capo_bench.run.stages import measure_trial
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, TrialFolder, read_json, write_json
from capo_bench.store.ledger import Ledger
from capo_bench.store.walk import ABSENT, FileSum, list_reached, read_sums
from capo_bench.study.plan import Plan
from capo_bench.track.names import FINAL, read_final, select_mlflow_metrics
from capo_bench.verify.checks import DAMAGE, Check, Checks, make_checks
from capo_bench.verify.identities import check_identity, check_plan
from capo_bench.verify.lengths import Lengths
from capo_bench.verify.report import check_report
from capo_bench.verify.samples import rescore
from capo_bench.verify.training import check_training
from evals.registry import UnknownNameError
from evals.verify import Verifier

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial


@dataclass(frozen=True)
class Verified:
    """The result of verifying the finished trials of a study; pending trials are not checked."""

    study: str
    trials: int
    pending: int
    checks: Checks

    @property
    def mismatches(self) -> int:
        """Number of values that differ."""
        return sum(len(check.mismatches) for check in self.checks.values())

    @property
    def compared(self) -> int:
        """Number of compared values."""
        return sum(check.compared for check in self.checks.values())

    @property
    def unverified(self) -> int:
        """Number of values that could not be compared here."""
        return sum(sum(check.unchecked.values()) for check in self.checks.values())

    @property
    def passed(self) -> bool:
        """Whether trials were verified and nothing differs."""
        return bool(self.trials) and bool(self.compared) and not self.mismatches


def verify_bundle(bundle: Path, tell: Tell = lambda done, total: None) -> Verified:
    """Derive the numbers of a bundle again, and compare its files with their checksums.

    Raises:
        BundleError: The bundle cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        home, checks = Home(Path(scratch)), make_checks()
        manifest = extract(bundle, home.path, tell)
        plan = _plan(home, manifest)
        check_sums(checks["files"], home, read_sums(home.study(manifest.study).path))
        bundled = sorted(path.name for path in home.path.glob("trials/*"))
        done = sorted({trial.id for trial in plan.trials if home.trial(trial.id).done})
        checks["files"].equal("trials: finished ones of the plan", bundled, done)
        report = home.study(manifest.study).profile(manifest.profile).report
        if not report.is_dir():
            checks["files"].differs(str(report.relative_to(home.path)), ABSENT, "a report")
        checks["plan"].equal(f"{manifest.path}: profile", manifest.profile, plan.profile)
        return verify(plan, home, checks, manifest.origin, tell, sets=manifest.sets, only=manifest.only)


def _plan(home: Home, manifest: Manifest) -> Plan:
    path = home.study(manifest.study).profile(manifest.profile).plan
    try:
        plan = Plan.from_json(read_json(path))
        strange = [trial.id for trial in plan.trials if not re.fullmatch(r"[0-9a-f]{12}", trial.id)]
        places = [metric for metric in plan.metrics if ".." in metric or metric.count("/") != 1]
        if plan.study != manifest.study or strange or places:
            raise ValueError(f"it is not of the manifest's study: {[plan.study, *strange, *places][-1]!r}")
    except (*DAMAGE, UnknownNameError) as error:
        raise BundleError(f"{path.relative_to(home.path)}: no plan that this capo-bench can read ({error})") from error
    return plan


def verify(  # noqa: PLR0913 - what is verified, and how
    plan: Plan,
    home: Home,
    checks: Checks,
    origin: dict[str, Any] | None = None,
    tell: Tell = lambda done, total: None,
    *,
    sets: Sequence[str] | None = None,
    only: Sequence[str] = (),
) -> Verified:
    """Derive the numbers of a study in a results folder again; the folder is only read.

    `origin` describes the capo-bench that wrote the report; None: this one did. `sets` are the values of ``--set``;
    None: those of the last run.
    """
    with checks["plan"].reading(f"studies/{plan.study}"):
        check_plan(checks["plan"], plan, home, sets, only)
    trials = {trial.id: trial for trial in plan.trials}
    done = [trial for trial in trials.values() if home.trial(trial.id).done]
    with checks["files"].reading("trials"):
        check_study_files(checks["files"], plan, home)
    with checks["tracked"].reading(home.tracking.name):
        check_tracked(checks["tracked"], home, {trial.id for trial in done})
    with tempfile.TemporaryDirectory() as scratch, Verifier() as verifier:
        again = Home(Path(scratch))
        for number, trial in enumerate(done, 1):
            with checks["identities"].reading(f"trials/{trial.id}"):
                _verify_trial(checks, trial, home, again.trial(trial.id), verifier)
            tell(number, len(done) + 1)
        report = home.study(plan.study).profile(plan.profile).report
        if not report.is_dir():
            checks["report"].take("no report is there, so none was compared; `capo-bench report` makes one")
        else:
            with checks["report"].reading("report"):
                check_report(checks["report"], plan, again, report, origin)
    return Verified(plan.study, len(done), len(trials) - len(done), checks)


def _verify_trial(checks: Checks, trial: Trial, home: Home, again: TrialFolder, verifier: Verifier) -> None:
    name, given = f"trials/{trial.id}", home.trial(trial.id)
    again.path.mkdir(parents=True)
    check_identity(checks, trial, home, name)
    for path in (given.config, given.provenance):
        if path.exists():
            (again.path / path.name).symlink_to(path.absolute())
    if given.trained.exists():
        again.trained.symlink_to(given.trained.absolute())
    lengths = Lengths(trial, home)
    for task in trial.config.evaluation.tasks:
        answers = given.completions(task)
        with checks["samples"].reading(given.place(answers)):
            lengths.completions(checks["samples"], answers, given.place(answers))
        with checks["samples"].reading(f"{name}/evaluation/{task}"):
            rescore(checks, trial, given, again, task, verifier)
    check_training(checks, trial, given, verifier, lengths)
    with checks["metrics"].reading(f"{name}/metrics.json"):
        recorded = read_json(given.metrics)
        checks["metrics"].equal(f"{name}/metrics.json: parts", sorted(recorded), ["cost", "metrics"])
        derived: Mapping[str, Any] = json.loads(json.dumps(measure_trial(again, trial.config.evaluation.tasks)))
        write_json(again.metrics, derived)
        checks["metrics"].fields(f"{name}/metrics.json:", recorded["metrics"], derived["metrics"])
        checks["costs"].fields(f"{name}/metrics.json: cost", recorded["cost"], derived["cost"])


def check_study_files(check: Check, plan: Plan, home: Home) -> None:
    """Compare the files of a study with their lists of checksums, and the lines of its ledger with their own.

    In a results folder, also all evaluations and measurements of critics, because their study is not recorded.
    """
    for folder in list_reached(home, {trial.id: trial.identity for trial in plan.trials}):
        check_sums(check, home, read_sums(folder))
    for kind in ("evals", "critics"):
        check_sums(check, home, read_sums(home.path / kind, whole=False))
    ledger = home.study(plan.study).ledger
    try:
        for line in Ledger(ledger).damaged():
            check.differs(line.partition(": ")[0].replace(f"{home.path}/", ""), "another record", "its checksum")
    except RunError as error:
        check.differs(f"studies/{plan.study}/{ledger.name}", str(error), "a ledger")


def check_tracked(check: Check, home: Home, trials: Collection[str]) -> None:
    """Compare the final numbers of trials in a results folder's MLflow store with the trials' own."""
    try:
        recorded = [row for row in read_final(home) if row[0] in trials]
    except sqlite3.Error as error:
        check.leave(f"the final numbers in {home.tracking.name}, which cannot be read ({error})")
        return
    metrics = {
        trial: select_mlflow_metrics(read_json(home.trial(trial).metrics)["metrics"], FINAL) for trial, _, _ in recorded
    }
    for trial, name, value in recorded:
        check.equal(f"{home.tracking.name}: {trial} {name}", value, metrics[trial].get(name, ABSENT))


def check_sums(check: Check, home: Home, sums: Iterable[FileSum]) -> None:
    """Compare files with their listed checksums."""
    for file in sums:
        if file.freed:
            check.leave("files of weights that are not here")
        else:
            check.equal(f"{file.path.relative_to(home.path).as_posix()}: sha256", file.value, file.listed)
