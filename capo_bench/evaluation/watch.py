"""Progress of an evaluation, or of a critic's measurement, on a meter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capo_bench.run.meter import ProgressMeter

if TYPE_CHECKING:
    from capo_bench.critic.ask import AskProgress
    from evals.harness.progress import Progress
    from trainers import Emit

_DOING = {"generate": "generating", "score": "scoring"}


@dataclass(frozen=True)
class Watch:
    """Functions that receive the progress of an evaluation."""

    stage: Callable[[Progress], None]
    critic: Callable[[AskProgress], None]
    emit: Emit


def watch(meter: ProgressMeter, critic: str = "critic") -> Watch:
    """Return a watch that shows everything on one meter."""

    def stage(progress: Progress) -> None:
        title = f"{progress.task}: {_DOING[progress.stage]}"
        meter.tell(title, progress.done, progress.of, describe_pace(progress), rest=progress.seconds_left)

    def judged(state: AskProgress) -> None:
        silent = f"{state.abstained} of {state.critiques} without a verdict" if state.abstained else ""
        meter.tell(critic, state.done, state.of, silent)

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "stage":
            meter.say(str(event["stage"]))
        else:
            meter.tell(str(event.get("model", "model")), event["step"], event["of"])

    return Watch(stage, judged, emit)


def describe_pace(stage: Progress) -> str:
    """Return a stage's speed and failures in words."""
    parts = []
    if stage.seconds > 0 and stage.tokens:
        parts.append(f"{stage.tokens / stage.seconds:,.0f} tokens/s")
    elif stage.seconds > 0 and stage.asked:
        parts.append(f"{stage.asked / stage.seconds:,.0f}/s")
    parts += [f"{stage.failed:,} failed"] * bool(stage.failed)
    return " · ".join(parts)
