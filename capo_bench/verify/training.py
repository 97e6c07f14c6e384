"""What training recorded, derived again from the rollouts, critiques and scores that it stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capo_bench.home import TrialFolder
from capo_bench.replay.check import Check as Replayed
from capo_bench.replay.check import check_step
from capo_bench.replay.scored import trains_on_scores
from capo_bench.replay.study import recorded
from capo_bench.replay.trial import is_whole, replay_trial
from capo_bench.study.code import hashes
from capo_bench.study.source import module_files
from capo_bench.verify.checks import ABSENT, Check, Checks
from evals.benchmarks import BENCHMARKS, Benchmark, Problem
from evals.verify import VERIFIER_VERSION, Verifier
from trainers.credit.critique import Critique, usage_metrics
from trainers.credit.parse import parse
from trainers.methods import METHODS
from trainers.rollouts import Rollout, StoredStep, read_step, stored_steps

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

_ADDED = {"policy_tokens", "unverified"}
_NO_TEXT = {"timeout", "error", "truncated"}
"""Abstentions that are not told by the text alone."""

_PARSER = "trainers.credit.parse"


def check_training(checks: Checks, trial: Trial, folder: TrialFolder, verifier: Verifier) -> None:
    """Derive again what a trial's training recorded.

    Args:
        checks: Receives what was found.
        trial: The trial.
        folder: Its folder.
        verifier: Judges the answers.
    """
    if METHODS.get(trial.config.method).train is None:
        return
    where = f"trials/{trial.id}"
    with checks["steps"].reading(f"{where}/steps.jsonl"):
        records = recorded(folder)
        train = trial.config.train
        checks["steps"].equal(f"{where}/steps.jsonl: steps", len(records), train.steps)
        checks["steps"].equal(f"{where}/steps.jsonl: numbers of steps", sorted(records), [*range(1, len(records) + 1)])
        for step, record in records.items():
            _whole(
                checks["steps"], f"{where}/steps.jsonl: step {step}", record, train.prompts_per_step * train.group_size
            )
        if stored_steps(folder.rollouts) or _asked(trial):
            _stored(checks, trial, folder, records, verifier)
        else:
            checks["steps"].leave(f"step records of {trial.config.method}, whose rollouts are not there", len(records))
        _measured_only(checks["steps"], records)


def _whole(check: Check, where: str, record: Mapping[str, Any], rollouts: int) -> None:
    """Compare what a record says twice."""
    tokens = record["tokens_per_response"] * rollouts
    check.equal(f"{where} policy_tokens", record["policy_tokens"], tokens, close=True)


def _measured_only(check: Check, records: Mapping[int, Mapping[str, Any]]) -> None:
    named = ("loss", "grad_norm", "entropy", "clipped_tokens", "truncated")
    told = sum(name in named or name.startswith("seconds") for record in records.values() for name in record)
    check.leave("losses, lengths at the limit and seconds, which only training could measure", told)


def _stored(
    checks: Checks, trial: Trial, folder: TrialFolder, records: Mapping[int, Mapping[str, Any]], verifier: Verifier
) -> None:
    where = f"trials/{trial.id}/rollouts"
    files = stored_steps(folder.rollouts)
    checks["rollouts"].equal(f"{where}: steps", sorted(files), sorted(records))
    benchmark = BENCHMARKS.get(trial.config.benchmark)
    short = False
    for number, paths in files.items():
        with checks["rollouts"].reading(f"{where}: step {number}"):
            step = read_step(number, paths)
            for path, part in zip(paths, step.parts, strict=True):
                _rollouts(checks, trial, part, f"{where}/{path.name}", benchmark, verifier)
            numbers = [_numbers(part, critics=_asked(trial) > 0) for part in step.parts]
            _record(checks["steps"], f"trials/{trial.id}/steps.jsonl: step {number}", records.get(number), numbers)
            if trains_on_scores(trial.config):
                _scores(checks, trial, step, records.get(number))
            short |= any(len(rollout.critiques) != _asked(trial) for rollout in step.rollouts)
    if short:
        checks["credit"].leave("credit of rollouts with another number of critiques than the settings", len(records))
    elif not trains_on_scores(trial.config):
        _credit(checks["credit"], trial, folder, records)


def _asked(trial: Trial) -> int:
    """Return how many critiques of a rollout a trial asks for."""
    return trial.config.credit.critiques if "critic" in METHODS.get(trial.config.method).uses else 0


def _rollouts(  # noqa: PLR0913, PLR0917 - what is checked, by whom, and where it stands
    checks: Checks, trial: Trial, rollouts: Sequence[Rollout], where: str, benchmark: Benchmark, verifier: Verifier
) -> None:
    check = checks["rollouts"]
    same = trial.identity["training"].get("verifier") == VERIFIER_VERSION
    pairs = [(rollout.text, rollout.answer) for rollout in rollouts]
    verdicts = verifier.verify(pairs) if same else [None] * len(pairs)
    for line, (rollout, verdict) in enumerate(zip(rollouts, verdicts, strict=True), 1):
        if verdict is None or verdict.correct is None or rollout.outcome is None:
            check.leave("outcomes that another verifier, or a limit of time or memory, decided")
        else:
            check.equal(f"{where}:{line} outcome", rollout.outcome, float(verdict.correct))
        checks["critiques"].equal(f"{where}:{line} number of critiques", len(rollout.critiques), _asked(trial))
        if rollout.truth is not None:
            problem = Problem(rollout.problem, rollout.prompt, rollout.answer)
            found = benchmark.check_steps(problem, rollout.steps).wrong
            check.equal(f"{where}:{line} wrong steps", sorted(rollout.truth), sorted(found))
        for number, critique in enumerate(rollout.critiques):
            _critique(checks["critiques"], trial, rollout, critique, f"{where}:{line} critique {number}")


def _critique(check: Check, trial: Trial, rollout: Rollout, critique: Critique, where: str) -> None:
    """Read a critique's verdict again: in its text, or, of the exact critic, which writes none, in the truth."""
    said = critique.abstained or sorted(critique.wrong or ())
    if not critique.text:
        if trial.config.critic.name == "exact" and rollout.aim == "steps" and rollout.truth is not None:
            check.equal(where, said, sorted(rollout.truth))
        else:
            check.leave("critiques without a text; the credit check counts their flags")
    elif critique.abstained in _NO_TEXT:
        check.leave("critiques that were cut off or failed")
    elif not _same_parser(trial):
        check.leave("critiques that another version of the parser read")
    else:
        found = parse(critique.text, rollout.aim, len(rollout.steps))
        check.equal(where, said, found if isinstance(found, str) else sorted(found))


def _same_parser(trial: Trial) -> bool:
    code = trial.identity["training"]["code"]
    return all(code.get(name) == found for name, found in hashes(module_files(_PARSER)).items())


def _scores(checks: Checks, trial: Trial, step: StoredStep, record: Mapping[str, Any] | None) -> None:
    """Compare what was recorded of scores with those stored; that they are the model's, only the model could say."""
    where, lacking = f"trials/{trial.id}/rollouts: step {step.step}", [row.scored is None for row in step.rollouts]
    checks["rollouts"].equal(f"{where} without scores or a reason", sum(lacking), 0)
    checks["rollouts"].equal(f"{where} whole groups", is_whole(step, trial.config.train.group_size), found=True)
    found = Replayed()
    check_step(found, step, trial.config, record)
    checks["credit"].compared += found.numbers - len(found.off)
    for line in found.off:
        checks["credit"].differs(f"trials/{trial.id}/rollouts and steps.jsonl", "what training recorded", line)
    checks["credit"].leave("scores of a process reward model, which only the model could give again", len(lacking))


def _record(check: Check, where: str, record: Mapping[str, Any] | None, found: Sequence[Mapping[str, float]]) -> None:
    """Compare a step's record with what the rollouts of its processes say."""
    if record is None:
        check.differs(where, ABSENT, "rollouts are there")
        return
    for name in found[0]:
        values = [numbers[name] for numbers in found if not math.isnan(numbers[name])]
        added = name in _ADDED or name.startswith("criti")
        derived = math.nan if not values else sum(values) if added else sum(values) / len(values)
        said = record.get(name, math.nan)
        check.equal(f"{where} {name}", math.nan if said is None else said, derived, close=True)


def _numbers(rollouts: Sequence[Rollout], *, critics: bool) -> dict[str, float]:
    known = [rollout.outcome for rollout in rollouts if rollout.outcome is not None]
    steps = sum(len(rollout.steps) for rollout in rollouts)
    tokens = sum(sum(rollout.tokens) for rollout in rollouts)
    numbers = {
        "outcome": sum(known) / len(known) if known else math.nan,
        "unverified": float(len(rollouts) - len(known)),
        "steps_per_response": steps / len(rollouts),
        "tokens_per_response": tokens / len(rollouts),
        "policy_tokens": float(tokens),
        **(usage_metrics([rollout.critiques for rollout in rollouts]) if critics else {}),
    }
    if all(rollout.truth is not None for rollout in rollouts):
        wrong = sum(len(rollout.truth or ()) for rollout in rollouts)
        numbers["wrong_step_rate"] = wrong / max(steps, 1)
    return numbers


def _credit(check: Check, trial: Trial, folder: TrialFolder, records: Mapping[int, Mapping[str, Any]]) -> None:
    """Replay token rewards, penalties and advantages from the critiques."""
    if trial.config.method != "capo":
        check.leave(
            f"credit of method {trial.config.method}: only that of capo and of scores is worked out again", len(records)
        )
        return
    found = replay_trial(folder, trial.config, (), (), recorded=records)
    check.compared += found.check.numbers - len(found.check.off)
    for line in found.check.off:
        check.differs(f"trials/{trial.id}/rollouts and steps.jsonl", "what training recorded", line)
    for line in found.damaged:
        check.differs(f"trials/{trial.id}/rollouts", "whole groups", line)
