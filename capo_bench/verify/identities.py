"""Check that study file, plan, ledger and trials agree.

Every trial must have the id, settings, seed, weights and problems that its files claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.analysis.looks import find_trials_due
from capo_bench.store.home import Home, TrialFolder, read_json
from capo_bench.store.ledger import Ledger, Record, fold
from capo_bench.store.records import flatten
from capo_bench.store.walk import ABSENT, find_shared_keys
from capo_bench.study.contamination import encode_overlaps
from capo_bench.study.errors import StudyErrors
from capo_bench.study.identity import FOLDER, add_seed, hash_plain, hash_stages, identify_trial, make_trial_id
from capo_bench.study.load import load_plan
from capo_bench.verify.checks import DAMAGE, Check, Checks
from evals.config import EvaluationConfig
from evals.fingerprint import fingerprint_model
from evals.harness.folder import TaskRecord, read_task
from evals.tasks.identity import find_task_answers, find_task_checker, find_task_draws, read_task_settings
from evals.tasks.row_settings import TestRows
from trainers.config import TrialConfig

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan, Trial

_OF_THE_MACHINE = {
    "code", "stage", "packages", "lm_eval", "verifier", "fingerprint", "content", "key", "embedded", "data", "settings",
}  # fmt: skip
"""Parts of an identity that depend on code, packages and data, which may differ from those where the trial ran."""


def check_plan(check: Check, plan: Plan, home: Home, sets: Sequence[str] | None, only: Sequence[str]) -> None:
    """Compare a plan with the ledger of its runs, and with the study file under these ``--set`` and ``--only``.

    If `sets` is None, those of the last run apply.
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
        again = find_trials_due(load_plan(file, plan.profile, sets, only), home)
    except (StudyErrors, *DAMAGE) as error:
        check.leave(f"the plan, for its study file cannot be expanded here ({str(error)[:200]})", len(plan.trials))
        return
    check.fields(f"{where}:", *({**each.as_json(), "file": "", "trials": []} for each in (plan, again)))
    trials, wanted = ({(trial.variant, trial.seed): trial for trial in each.trials} for each in (plan, again))
    seeds = Counter(variant for variant, _ in trials)
    if plan.looks and set(seeds.values()) <= set(plan.looks):
        # A run that was killed between two looks has not stored the next one's plan; the report lists what is missing.
        wanted = {key: trial for key, trial in wanted.items() if key[1] < seeds[key[0]]}
    check.equal(f"{where}: variants and seeds", sorted(trials), sorted(wanted))
    for key in trials.keys() & wanted.keys():
        check.equal(f"{where}: settings of {key}", trials[key].config, wanted[key].config)


def _check_ledger(check: Check, plan: Plan, records: Sequence[Record], runs: Sequence[Record], *, whole: bool) -> None:
    """Compare the plan with the ledger's records of its runs; `whole`: the plan contains all trials."""
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
        if entry is not None and entry.variant in names:  # the variant may have been renamed
            check.equal(f"{where}: {trial.id} variant", trial.variant, entry.variant)
        if entry is not None:
            check.equal(f"{where}: {trial.id} seed", trial.seed, entry.seed)


def check_identity(checks: Checks, trial: Trial, home: Home, name: str) -> None:
    """Compare a planned trial's id, settings and seed in all files that contain them."""
    check, folder = checks["identities"], home.trial(trial.id)
    parts = {key: value for key, value in trial.identity.items() if key != "seed"}
    check.equal(f"plan {name}: id of its settings and seed", trial.id, make_trial_id(hash_plain(parts), trial.seed))
    _check_settings(checks, trial.config, trial, f"plan {name}")
    with check.reading(where := f"{name}/config.json"):
        config = read_json(folder.config)
        check.equal(f"{where}: parts", sorted(config), sorted({*trial.as_json(), "definitions"}))
        planned = {"id": trial.id, "seed": trial.seed, "identity": trial.identity}
        check.fields(f"{where}:", {key: config[key] for key in planned}, planned)
        # Sections that its method ignores may be from another study with the same trial.
        if (settings := TrialConfig.model_validate(config["config"])) != trial.config:
            _check_settings(checks, settings, trial, where)
    with check.reading(where := f"{name}/stages.json"):
        keys = hash_stages(trial.identity, trial.seed)
        for place, key in folder.keys().items():
            check.equal(f"{where}: {place}", key, keys.get(place))
    with check.reading(where := f"{name}/provenance.json"):
        provenance = read_json(folder.provenance)
        _check_provenance(check, trial, home, provenance, where)
        for task in trial.config.evaluation.tasks:
            _check_task(checks, trial, folder, task, provenance["fingerprints"])


def _check_provenance(check: Check, trial: Trial, home: Home, recorded: Mapping[str, Any], where: str) -> None:
    """Compare the values of the provenance that the trial's identity or other files also contain."""
    folder, training = home.trial(trial.id), trial.identity["training"]
    packages = dict(training["packages"])
    check.equal(f"{where}: python", recorded["python"].rpartition(".")[0], packages.pop("python"))
    cold_start = find_shared_keys(trial.identity).get("cold_start")
    fingerprints = {"benchmark": training["benchmark"]["fingerprint"], "cold_start": cold_start}
    if folder.model.is_dir():
        fingerprints["final_weights"] = fingerprint_model(folder.model)
    elif recorded["fingerprints"]["final_weights"] is not None:
        check.leave("fingerprints of weights that are not here")
    attempt = {"micro_batch": None}
    if folder.training.exists():
        training_record, place = read_json(folder.training), folder.place(folder.training)
        check.equal(f"{place}: parts", sorted(training_record), ["micro_batch", "micro_batches"])
        attempt["micro_batch"] = training_record["micro_batch"]
        check.equal(f"{place}: last", training_record["micro_batches"][-1]["micro_batch"], attempt["micro_batch"])
    derived = {
        "seed": trial.seed,
        "verifier": trial.identity["scoring"]["verifier"],
        "packages": packages,
        "fingerprints": fingerprints,
        "attempt": attempt,
    }
    check.fields(f"{where}:", recorded, derived, whole=False)
    check.equal(f"{where}: contamination", recorded["contamination"], encode_overlaps(trial.config))
    _check_teaching(check, trial, home, recorded["taught"], where)
    check.take("when, where and on what a trial ran", len(recorded["hardware"]) + len(recorded["git"]) + 2)


def _check_teaching(check: Check, trial: Trial, home: Home, taught: Mapping[str, Any], where: str) -> None:
    """Compare keys and costs of shared models in a trial's provenance with its identity and the models' own records."""
    keys = find_shared_keys(trial.identity)
    check.equal(f"{where}: taught", {kind: cost["key"] for kind, cost in taught.items()}, keys)
    for kind, key in keys.items():
        path = home.stage(kind, key) / f"{kind}.json"
        if path.exists():
            check.fields(f"{where}: taught {kind}", taught[kind], {"key": key, **read_json(path)["cost"]})
        else:
            check.leave("costs of shared models that are not here", len(taught[kind]) - 1)


def _check_settings(checks: Checks, config: TrialConfig, trial: Trial, where: str) -> None:
    """Compare a trial's identity with the identity of settings here; parts beyond the settings may differ."""
    check = checks["identities"]
    try:
        here = flatten(add_seed(identify_trial(config), trial.seed))
    except DAMAGE as error:
        check.leave(f"settings of a trial cannot be resolved here ({type(error).__name__}: {error})")
        return
    there = flatten(dict(trial.identity))
    for path in dict.fromkeys([*there, *here]):
        recorded, derived = there.get(path, ABSENT), here.get(path, ABSENT)
        if recorded != derived and (recorded == FOLDER or _OF_THE_MACHINE & set(path.split("."))):
            check.leave("parts of identities that other code, packages or data decide here")
        else:
            check.equal(f"{where}: settings, {path}", recorded, derived)


def _check_task(checks: Checks, trial: Trial, folder: TrialFolder, task: str, fingerprints: Mapping[str, Any]) -> None:
    check, settings = checks["identities"], trial.config.evaluation
    where = f"{folder.place(folder.completions(task))}/task.json"
    with check.reading(where):
        record = read_task(folder.completions(task))
        identity = record.identity
        wanted = {"task": task, "seed": trial.seed, "problems": len(record.asked)}
        check.fields(f"{where}:", identity, wanted | _resolve_settings(identity, task, settings), whole=False)
        if task not in settings.rows:
            check.equal(f"{where}: checker of steps", record.checker, find_task_checker(task))
        weights = fingerprints["final_weights"] or fingerprints["start_weights"]
        asked = identity["model"].get("adapter", identity["model"].get("weights"))
        if asked is not None and weights is not None:
            check.equal(f"{where}: weights of the model", asked, weights)
        _check_problems(checks["problems"], record, settings, where)


def _resolve_settings(identity: Mapping[str, Any], task: str, settings: EvaluationConfig) -> dict[str, Any]:
    """Return the request of a task by the settings, and by the task's own values if they are not set."""
    if identity["output"] != "generate":
        return {}
    drawn, own = find_task_draws(task), read_task_settings(task).get("generation_kwargs") or {}
    longest = settings.max_completion_tokens or own.get("max_gen_toks")
    sampling = {} if longest is None else {"max_tokens": longest}
    for name in ("temperature", "top_p") if identity["samples"] else ():
        value = getattr(settings, name)
        sampling[name] = getattr(drawn, name) if value is None else value
    return {
        "greedy": settings.greedy,
        "answers": settings.answers or find_task_answers(task),
        "samples": drawn.samples if settings.samples is None else settings.samples,
        **({"sampling": sampling} if sampling else {}),
    }


def _check_problems(check: Check, record: TaskRecord, settings: EvaluationConfig, where: str) -> None:
    """Compare the problems, including the reference answers, with those of the task here."""
    task = record.identity["task"]
    data_dir = None if settings.data_dir is None else Path(settings.data_dir)
    named = settings.rows.get(task)
    drawn = named is None and "benchmark" in read_task_settings(task).get("dataset_kwargs", {})
    if not drawn and not (named and named.file) and (data_dir is None or not data_dir.is_dir()):
        check.leave("problems come from a hub or a folder that is not read here", len(record.asked))
        return
    if drawn and not check.equal(f"{where}: number of problems", len(record.asked), settings.problems):
        return
    try:
        source, problems = _load_problems(task, data_dir, settings.problems, named)
    except DAMAGE as error:
        check.leave(f"problems cannot be read here ({type(error).__name__}: {error})", len(record.asked))
        return
    check.equal(f"{where}: source", record.source, source)
    check.equal(
        f"{where}: problems", [asked.problem.id for asked in record.asked], [problem["id"] for problem in problems]
    )
    for number, (asked, derived) in enumerate(zip(record.asked, problems, strict=False)):
        check.equal(f"{where}: problem {number}", _flatten_problem(asked.problem), derived)


@cache
def _load_problems(
    task: str, data_dir: Path | None, limit: int | None, rows: TestRows | None
) -> tuple[str, list[dict[str, Any]]]:
    from evals.harness.tasks import load_tasks

    (loaded,) = load_tasks([task], data_dir=data_dir, limit=limit, own={} if rows is None else {task: rows})
    return loaded.source, [_flatten_problem(problem) for problem in loaded.problems]


def _flatten_problem(problem: Any) -> dict[str, Any]:
    return {"id": problem.id, "prompt": problem.prompt, "answer": problem.answer, "form": problem.form}
