"""Write critic calls as traces and the critic's prompt as a versioned prompt, for MLflow's GenAI pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlflow

from capo_bench.process.contexts import keep_environment
from capo_bench.track.redact import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from capo_bench.store.home import TrialFolder
    from capo_bench.study.plan import Trial
    from capo_bench.track.desk import Desk
    from trainers.credit.critique import Critique
    from trainers.rollouts import Rollout

ROLLOUTS, CRITIQUES = 2, 2
SAMPLE = f"the first {CRITIQUES} critiques of the first {ROLLOUTS} rollouts of the first and the last step"
"""The traced calls of a trial: thousands would be unreadable, and the results folder contains all of them."""
_KEY = "capo.call"


@dataclass(frozen=True)
class Call:
    """One traced critique of a rollout of an optimizer step.

    `key` identifies its trace: trial, step, index of the rollout, index of the critique.
    """

    key: str
    step: int
    rollout: Rollout
    critique: Critique


def write_critiques(desk: Desk, run: str, trial: Trial, folder: TrialFolder) -> None:
    """Write a trial's sampled critic calls as traces of its run unless they exist, and the critic's prompt."""
    calls = list(_sample_calls(trial, folder))
    if not calls:
        return
    _write_prompt(desk.client, trial, calls[0].rollout.aim)
    existing = _read_keys(desk, run)
    for call in calls:
        if call.key not in existing:
            _write(desk, run, call)


def _sample_calls(trial: Trial, folder: TrialFolder) -> Iterator[Call]:
    from trainers.rollouts import list_stored_steps, read_step

    steps = list_stored_steps(folder.rollouts)
    for step in sorted({min(steps), max(steps)}) if steps else ():
        rollouts = read_step(step, steps[step]).rollouts
        asked = [rollout for rollout in rollouts if any(critique.text for critique in rollout.critiques)]
        for place, rollout in enumerate(asked[:ROLLOUTS]):
            for number, critique in enumerate(rollout.critiques[:CRITIQUES]):
                yield Call(f"{trial.id}/{step}/{place}/{number}", step, rollout, critique)


def _read_keys(desk: Desk, run: str) -> set[str]:
    traces = desk.client.search_traces(locations=[desk.experiment], run_id=run, max_results=100, include_spans=False)
    return {str(trace.info.tags.get(_KEY)) for trace in traces}


def _write(desk: Desk, run: str, call: Call) -> None:
    rollout, critique, usage = call.rollout, call.critique, call.critique.usage
    tags = {_KEY: call.key, "capo.step": str(call.step), "capo.sample": SAMPLE}
    wrong = None if critique.wrong is None else sorted(step + 1 for step in critique.wrong)
    truth = None if rollout.truth is None else ("wrong_steps", sorted(step + 1 for step in rollout.truth))
    write_trace(
        desk,
        run,
        "critique",
        inputs={"problem": rollout.prompt, "steps": list(rollout.steps), "aim": rollout.aim},
        outputs={"text": critique.text, "wrong_steps": wrong, "abstained": critique.abstained},
        attributes={"prompt_tokens": usage.prompt_tokens, "output_tokens": usage.output_tokens},
        tags=tags,
        expected=truth,
    )


def write_trace(  # noqa: PLR0913 - the parts of a trace
    desk: Desk,
    run: str,
    name: str,
    *,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    attributes: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
    expected: tuple[str, Any] | None = None,
    verdict: tuple[bool, str] | None = None,
) -> None:
    """Write a call of a model as a trace of a run, with secrets removed.

    `expected` is the name and value of the correct result. `verdict` is whether the output is correct, and the reason.
    """
    client, experiment = desk.client, desk.experiment
    # MLflow uses a global setting, which it also writes into the environment.
    with keep_environment("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(desk.store.uri)
        span = client.start_trace(
            name, "LLM", _clean(inputs), attributes=attributes, tags=tags, experiment_id=experiment, run_id=run
        )
        client.end_trace(span.trace_id, outputs=_clean(outputs))
        if expected is not None:
            mlflow.log_expectation(trace_id=span.trace_id, name=expected[0], value=expected[1])
        if verdict is not None:
            mlflow.log_feedback(trace_id=span.trace_id, name="correct", value=verdict[0], rationale=verdict[1])


def _clean(value: dict[str, Any]) -> Any:
    return json.loads(redact(json.dumps(value)))


def _write_prompt(client: MlflowClient, trial: Trial, aim: str) -> None:
    """Register the instructions in a language model's prompt; a new version only if they differ from the last one."""
    from trainers.credit.prompt import PROMPT_VERSION, write_instructions

    settings = trial.config.critic.model_dump(mode="json")
    if "model" not in settings and "prompt_version" not in settings:
        return
    reply = settings.get("reply", "list")
    text = write_instructions(aim, bool(settings.get("reference")), reply)  # type: ignore[arg-type]
    parts = ["critic", aim, *(["with-reference"] if settings.get("reference") else [])]
    name = "-".join([*parts, *([] if reply == "list" else [reply])])
    last = client.get_prompt_version_by_alias(name, "latest") if client.get_prompt(name) else None
    if last is None or last.template != text:
        client.register_prompt(name, text, commit_message=f"capo-bench's prompt version {PROMPT_VERSION}")
