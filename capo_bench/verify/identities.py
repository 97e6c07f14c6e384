"""Whether every trial is the one that it says it is: its id, its settings, its seed, its weights, its problems."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.store.home import Home, TrialFolder, read_json
from capo_bench.store.records import flatten
from capo_bench.store.walk import ABSENT
from capo_bench.study.contamination import overlaps_as_json
from capo_bench.study.identity import FOLDER, digest, identity_of, stage_keys, trial_id, with_seed
from capo_bench.verify.checks import DAMAGE, Check, Checks
from evals.config import EvaluationConfig
from evals.fingerprint import model_fingerprint
from evals.harness.folder import TaskRecord, read_task
from evals.tasks.identity import task_answers, task_checker, task_draws, task_settings
from evals.tasks.row_settings import TestRows
from trainers.config import TrialConfig

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

_OF_THE_MACHINE = {
    "code", "stage", "packages", "lm_eval", "verifier", "fingerprint", "content", "key", "embedded", "data", "settings",
}  # fmt: skip
"""Parts of an identity that code, packages and data decide, which may be others here than where the trial ran."""


def check_identity(checks: Checks, trial: Trial, home: Home, name: str) -> None:
    """Compare a planned trial's id, settings and seed in all files that say something of them."""
    check, folder = checks["identities"], home.trial(trial.id)
    check.equal(f"plan {name}: id of its settings and seed", trial.id, _id(trial.identity, trial.seed))
    with check.reading(f"{name}/config.json"):
        config = read_json(folder.config)
        check.equal(f"{name}/config.json: id", config["id"], trial.id)
        check.equal(
            f"{name}/config.json: id of its settings and seed", trial.id, _id(config["identity"], config["seed"])
        )
        check.equal(f"{name}/config.json: seed", config["seed"], trial.seed)
        recorded, planned = flatten(config["identity"]), flatten(dict(trial.identity))
        check.fields(f"{name}/config.json: identity", recorded, planned)
        # Sections that its method ignores may be those of another study that has the same trial.
        if (settings := TrialConfig.model_validate(config["config"])) != trial.config:
            _check_settings(checks, settings, trial, f"{name}/config.json")
    _check_settings(checks, trial.config, trial, f"plan {name}")
    with check.reading(f"{name}/stages.json"):
        keys = stage_keys(trial.identity, trial.seed)
        for place, key in folder.keys().items():
            check.equal(f"{name}/stages.json: {place}", key, keys.get(place))
    with check.reading(f"{name}/provenance.json"):
        provenance = read_json(folder.provenance)
        check.equal(f"{name}/provenance.json: seed", provenance["seed"], trial.seed)
        _check_provenance(check, trial, folder, provenance, f"{name}/provenance.json")
        _check_teaching(check, home, provenance, f"{name}/provenance.json")
        _check_weights(checks, folder, provenance["fingerprints"])
        for task in trial.config.evaluation.tasks:
            _check_task(checks, trial, folder, task, provenance["fingerprints"])


def _check_provenance(
    check: Check, trial: Trial, folder: TrialFolder, provenance: Mapping[str, Any], where: str
) -> None:
    """Compare what provenance says twice: here, and in the trial's identity or its other files."""
    training, scoring = trial.identity["training"], trial.identity["scoring"]
    check.equal(f"{where}: verifier", provenance["verifier"], scoring["verifier"])
    check.equal(f"{where}: benchmark", provenance["fingerprints"]["benchmark"], training["benchmark"]["fingerprint"])
    start = training["cold_start"]
    check.equal(f"{where}: cold start", provenance["fingerprints"]["cold_start"], start and start["key"])
    for package, version in training["packages"].items():
        recorded = provenance["python"] if package == "python" else provenance["packages"].get(package)
        check.equal(f"{where}: {package}", recorded if package != "python" else recorded.rpartition(".")[0], version)
    check.equal(f"{where}: contamination", provenance["contamination"], overlaps_as_json(trial.config))
    recorded = {kind: cost["key"] for kind, cost in provenance["taught"].items()}
    check.equal(f"{where}: taught", recorded, _taught_keys(training))
    attempt = read_json(folder.training)["micro_batch"] if folder.training.exists() else None
    check.equal(f"{where}: micro-batch", provenance["attempt"]["micro_batch"], attempt)
    check.take("when, where and on what a trial ran", len(provenance["hardware"]) + len(provenance["git"]) + 2)


def _taught_keys(training: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of the models that were taught for a trial, as its identity has them: not those of code here."""
    parts = {"cold_start": ("cold_start", "key"), "critic": ("critic", "embedded"), "prm": ("prm", "embedded")}
    keys = {kind: (training.get(part) or {}).get(name) for kind, (part, name) in parts.items()}
    return {kind: key for kind, key in keys.items() if key is not None}


def _check_teaching(check: Check, home: Home, provenance: Mapping[str, Any], where: str) -> None:
    """Compare what shared models cost by a trial's record with what stands beside them."""
    for kind, cost in provenance["taught"].items():
        path = home.stage(kind, cost["key"]) / f"{kind}.json"
        recorded = {name: value for name, value in cost.items() if name != "key"}
        if path.exists():
            check.fields(f"{where}: taught {kind}", recorded, read_json(path)["cost"])
        else:
            check.leave("costs of shared models that are not here", len(recorded))


def _id(identity: Mapping[str, Any], seed: int) -> str:
    return trial_id(digest({key: value for key, value in identity.items() if key != "seed"}), seed)


def _check_settings(checks: Checks, config: TrialConfig, trial: Trial, where: str) -> None:
    """Compare a trial's identity with that of settings here; what is not of the settings need not be the same."""
    check = checks["identities"]
    try:
        here = flatten(with_seed(identity_of(config), trial.seed))
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


def _check_weights(checks: Checks, folder: TrialFolder, fingerprints: Mapping[str, Any]) -> None:
    check, recorded = checks["identities"], fingerprints["final_weights"]
    if folder.model.is_dir():
        check.equal(
            f"{folder.place(folder.model)}: fingerprint of its weights", recorded, model_fingerprint(folder.model)
        )
    elif recorded is not None:
        check.leave("fingerprints of weights that are not here")


def _check_task(checks: Checks, trial: Trial, folder: TrialFolder, task: str, fingerprints: Mapping[str, Any]) -> None:
    check, settings = checks["identities"], trial.config.evaluation
    where = f"{folder.place(folder.completions(task))}/task.json"
    with check.reading(where):
        record = read_task(folder.completions(task))
        identity = record.identity
        check.equal(f"{where}: task", identity["task"], task)
        check.equal(f"{where}: seed", identity["seed"], trial.seed)
        check.equal(f"{where}: number of problems", identity["problems"], len(record.asked))
        if task not in settings.rows:
            check.equal(f"{where}: checker of steps", record.checker, task_checker(task))
        weights = fingerprints["final_weights"] or fingerprints["start_weights"]
        asked = identity["model"].get("adapter", identity["model"].get("weights"))
        if asked is not None and weights is not None:
            check.equal(f"{where}: weights of the model", asked, weights)
        if identity["output"] == "generate":
            check.equal(f"{where}: greedy", identity["greedy"], settings.greedy)
            check.equal(f"{where}: answers", identity["answers"], settings.answers or task_answers(task))
            wanted = task_draws(task).samples if settings.samples is None else settings.samples
            check.equal(f"{where}: samples", identity["samples"], wanted)
            _check_sampling(check, identity, task, settings, where)
        _check_problems(checks["problems"], record, settings, where)


def _check_sampling(
    check: Check, identity: Mapping[str, Any], task: str, settings: EvaluationConfig, where: str
) -> None:
    """Compare how a task was sampled with the settings, and with the task's own where they leave it to that."""
    drawn, own = task_draws(task), task_settings(task).get("generation_kwargs") or {}
    wanted = {"temperature": settings.temperature, "top_p": settings.top_p}
    for key, value in wanted.items():
        if identity["samples"]:
            check.equal(f"{where}: {key}", identity["sampling"][key], getattr(drawn, key) if value is None else value)
    longest = settings.max_completion_tokens or own.get("max_gen_toks")
    if longest is not None:
        check.equal(f"{where}: max_tokens", identity["sampling"]["max_tokens"], longest)


def _check_problems(check: Check, record: TaskRecord, settings: EvaluationConfig, where: str) -> None:
    """Compare the problems, and with them the reference answers, with those that the task has here."""
    task = record.identity["task"]
    data_dir = None if settings.data_dir is None else Path(settings.data_dir)
    named = settings.rows.get(task)
    drawn = named is None and "benchmark" in task_settings(task).get("dataset_kwargs", {})
    if not drawn and not (named and named.file) and (data_dir is None or not data_dir.is_dir()):
        check.leave("problems come from a hub or a folder that is not read here", len(record.asked))
        return
    if drawn and not check.equal(f"{where}: number of problems", len(record.asked), settings.problems):
        return
    try:
        source, problems = _problems(task, data_dir, settings.problems, named)
    except DAMAGE as error:
        check.leave(f"problems cannot be read here ({type(error).__name__}: {error})", len(record.asked))
        return
    check.equal(f"{where}: source", record.source, source)
    check.equal(
        f"{where}: problems", [asked.problem.id for asked in record.asked], [problem["id"] for problem in problems]
    )
    for number, (asked, derived) in enumerate(zip(record.asked, problems, strict=False)):
        check.equal(f"{where}: problem {number}", _flat(asked.problem), derived)


@cache
def _problems(
    task: str, data_dir: Path | None, limit: int | None, rows: TestRows | None
) -> tuple[str, list[dict[str, Any]]]:
    from evals.harness.tasks import load_tasks

    (loaded,) = load_tasks([task], data_dir=data_dir, limit=limit, own={} if rows is None else {task: rows})
    return loaded.source, [_flat(problem) for problem in loaded.problems]


def _flat(problem: Any) -> dict[str, Any]:
    return {"id": problem.id, "prompt": problem.prompt, "answer": problem.answer, "form": problem.form}
