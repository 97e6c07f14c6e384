"""Whether every trial is the one that it says it is: its id, its settings, its seed, its weights, its problems."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.home import TrialFolder, read_json
from capo_bench.report.provenance import flatten
from capo_bench.study.identity import digest, identity_of, trial_id, with_seed
from capo_bench.verify.checks import ABSENT, DAMAGE, Check, Checks
from evals.config import EvaluationConfig
from evals.fingerprint import weights_fingerprint
from evals.harness.folder import TaskRecord, read_task
from trainers.config import TrialConfig

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

_OF_THE_MACHINE = {
    *("code", "packages", "lm_eval", "verifier", "fingerprint", "weights", "key", "embedded", "data", "settings"),
}
"""Parts of an identity that code, packages and data decide, which may be others here than where the trial ran."""


def check_identity(checks: Checks, trial: Trial, folder: TrialFolder, name: str) -> None:
    """Compare a trial's id, settings and seed in all files that tell of them.

    Args:
        checks: Receives what was found.
        trial: As the plan has it.
        folder: Its folder.
        name: The folder's name in messages.
    """
    check = checks["identities"]
    check.equal(f"plan {name}: id of its settings and seed", trial.id, _id(trial.identity, trial.seed))
    with check.reading(f"{name}/config.json"):
        told = read_json(folder.config)
        check.equal(f"{name}/config.json: id", told["id"], trial.id)
        check.equal(f"{name}/config.json: id of its settings and seed", trial.id, _id(told["identity"], told["seed"]))
        check.equal(f"{name}/config.json: seed", told["seed"], trial.seed)
        said, planned = flatten(told["identity"]), flatten(dict(trial.identity))
        check.fields(f"{name}/config.json: identity", said, planned)
        # Sections that its method ignores may be those of another study that has the same trial.
        if (config := TrialConfig.model_validate(told["config"])) != trial.config:
            _check_settings(checks, config, trial, f"{name}/config.json")
    _check_settings(checks, trial.config, trial, f"plan {name}")
    with check.reading(f"{name}/provenance.json"):
        provenance = read_json(folder.provenance)
        check.equal(f"{name}/provenance.json: seed", provenance["seed"], trial.seed)
        _check_weights(checks, folder, provenance["fingerprints"], name)
        for task in trial.config.evaluation.tasks:
            _check_task(checks, trial, folder, task, provenance["fingerprints"])


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
        said, found = there.get(path, ABSENT), here.get(path, ABSENT)
        if said != found and _OF_THE_MACHINE & set(path.split(".")):
            check.leave("parts of identities that other code, packages or data decide here")
        else:
            check.equal(f"{where}: settings, {path}", said, found)


def _check_weights(checks: Checks, folder: TrialFolder, fingerprints: Mapping[str, Any], name: str) -> None:
    check, said = checks["identities"], fingerprints["final_weights"]
    if folder.model.is_dir():
        check.equal(f"{name}/model: fingerprint of its weights", said, weights_fingerprint(folder.model))
    elif said is not None:
        check.leave("fingerprints of weights that are not here")


def _check_task(checks: Checks, trial: Trial, folder: TrialFolder, task: str, fingerprints: Mapping[str, Any]) -> None:
    check, settings = checks["identities"], trial.config.evaluation
    where = f"trials/{trial.id}/evaluation/{task}/task.json"
    with check.reading(where):
        record = read_task(folder.evaluation / task)
        told = record.identity
        check.equal(f"{where}: task", told["task"], task)
        check.equal(f"{where}: seed", told["seed"], trial.seed)
        check.equal(f"{where}: number of problems", told["problems"], len(record.asked))
        weights = fingerprints["final_weights"] or fingerprints["start_weights"]
        if told["model"].get("weights") is not None and weights is not None:
            check.equal(f"{where}: weights of the model", told["model"]["weights"], weights)
        for key, wanted in (("temperature", settings.temperature), ("top_p", settings.top_p)):
            if wanted is not None:
                check.equal(f"{where}: {key}", told["sampling"][key], wanted)
        if told["output"] == "generate" and settings.samples is not None:
            check.equal(f"{where}: samples", told["samples"], settings.samples)
        _check_problems(checks["problems"], record, settings, where)


def _check_problems(check: Check, record: TaskRecord, settings: EvaluationConfig, where: str) -> None:
    """Compare the problems, and with them the reference answers, with those that the task has here."""
    drawn, data_dir = record.source.endswith("drawn"), None if settings.data_dir is None else Path(settings.data_dir)
    if not drawn and (data_dir is None or not data_dir.is_dir()):
        check.leave("problems come from a hub or a folder that is not read here", len(record.asked))
        return
    if drawn and not check.equal(f"{where}: number of problems", len(record.asked), settings.problems):
        return
    try:
        problems = _problems(record.identity["task"], data_dir, settings.problems)
    except DAMAGE as error:
        check.leave(f"problems cannot be read here ({type(error).__name__}: {error})", len(record.asked))
        return
    check.equal(f"{where}: problems", [one.problem.id for one in record.asked], [one["id"] for one in problems])
    for number, (asked, found) in enumerate(zip(record.asked, problems, strict=False)):
        check.equal(f"{where}: problem {number}", _flat(asked.problem), found)


@cache
def _problems(task: str, data_dir: Path | None, limit: int | None) -> list[dict[str, Any]]:
    from evals.harness.tasks import load_tasks

    (loaded,) = load_tasks([task], data_dir=data_dir, limit=limit)
    return [_flat(problem) for problem in loaded.problems]


def _flat(problem: Any) -> dict[str, Any]:
    return {"id": problem.id, "prompt": problem.prompt, "answer": problem.answer, "form": problem.form}
