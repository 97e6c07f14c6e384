"""Score completions again with the verifier and the benchmark's step checker, and compute their results again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.store.home import TrialFolder
from capo_bench.verify.checks import Check, Checks
from evals.harness.folder import RESULT, SAMPLES, read_samples, read_task, write_samples
from evals.harness.results import read_result, read_scoring_seconds, write_result
from evals.harness.score import score
from evals.verify import VERIFIER_VERSION, Verifier
from trainers.credit.segment import SEGMENTERS, list_step_texts

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial
    from evals.metrics import Sample

_VERDICT = ("correct", "correct_norm", "status", "answer")
_LIMITS = {"timeout", "memory", "crash"}
"""Statuses that depend on the speed or memory of the machine."""

_ESTIMATED = ("stderr", "low", "high")
"""Parts of an estimate that a library computes."""


def rescore(  # noqa: PLR0913, PLR0917 - what is scored, where, and by whom
    checks: Checks, trial: Trial, given: TrialFolder, again: TrialFolder, task: str, verifier: Verifier
) -> None:
    """Score a task's completions again into the folder `again`, and compare samples and result.

    Raises:
        EvaluationError: Files are missing or cannot be read.
    """
    source, target, answers = given.evaluation / task, again.evaluation / task, given.completions(task)
    recorded = read_result(source)
    place = f"trials/{given.path.name}/evaluation/{task}"
    settings = trial.config.evaluation
    scored = {"verifier": trial.identity["scoring"]["verifier"], "segmenter": settings.segmenter}
    identity = {**read_task(answers).identity, **scored}
    checks["results"].fields(f"{place}/{RESULT}: identity", recorded.identity, identity)
    segmenter, version = recorded.identity["segmenter"], recorded.identity["verifier"]
    segment = SEGMENTERS.get(segmenter)

    def cut(text: str) -> Sequence[str]:
        return list_step_texts(text, segment(text))

    score(answers, verifier=verifier, cut=cut, segmenter=segmenter, out=target)
    samples = _compare(checks["samples"], read_samples(source), read_samples(target), f"{place}/{SAMPLES}", version)
    write_samples(target, samples)
    # Seconds are used as recorded.
    write_result(
        answers, samples, {"verifier": version, "segmenter": segmenter}, read_scoring_seconds(recorded), target
    )
    _compare_results(checks["results"], source / RESULT, target / RESULT, f"{place}/{RESULT}")


def _compare(
    check: Check, recorded: Sequence[Sample], derived: Sequence[Sample], where: str, version: str
) -> Sequence[Sample]:
    """Compare samples; return the derived ones, with the recorded verdict where it cannot be derived here."""
    check.equal(f"{where}: samples", len(recorded), len(derived))
    kept: list[Any] = [*derived]
    for place, (old, new) in enumerate(zip(recorded, derived, strict=False)):
        line = f"{where}:{place + 1}"
        if old.get("status") in _LIMITS:
            check.equal(f"{line} correct, of a verdict that a limit ended", old.get("correct"), None)
        verdict: dict[str, Any] = {}
        if (reason := _explain_left(new, version)) is not None:
            check.leave(reason)
            verdict = {key: value for key, value in old.items() if key in _VERDICT}
        left_out = set(_VERDICT) if reason is not None else set()
        check.fields(line, *({key: row[key] for key in row if key not in left_out} for row in map(dict, (old, new))))
        kept[place] = {**new, **verdict}
    return kept


def _explain_left(derived: Sample, version: str) -> str | None:
    """Return why a verdict cannot be compared; None if it can."""
    if version != VERIFIER_VERSION:
        return f"verdicts of the verifier {version}; here it is {VERIFIER_VERSION}"
    # A verdict within the limits here cannot have exceeded them there.
    if derived.get("status") in _LIMITS:
        return "verdicts that a limit of time or memory decided here"
    return None


def _compare_results(check: Check, recorded: Path, derived: Path, where: str) -> None:
    left, right = (json.loads(path.read_text(encoding="utf-8")) for path in (recorded, derived))
    for name in ("score_seconds", "score_cpu_seconds"):
        check.take("seconds that a clock measured")
        left["cost"].pop(name, None)
        right["cost"].pop(name, None)
    check.fields(f"{where}:", left, right, close=_ESTIMATED)
