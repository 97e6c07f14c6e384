"""How far an evaluation, or a critic's measurement, is: what stages, critics and models in the making tell a meter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capo_bench.run.meter import ProgressMeter

if TYPE_CHECKING:
    from capo_bench.critic.ask import AskProgress
    from evals.harness.progress import Progress
    from trainers.emit import Emit

_DOING = {"generate": "generating", "score": "scoring"}


@dataclass(frozen=True)
class Watch:
    """Who is told how far an evaluation is.

    Attributes:
        stage: Told of generation and scoring.
        critic: Told of critiques.
        emit: Told of the embedded critic's training, and of waiting.
    """

    stage: Callable[[Progress], None]
    critic: Callable[[AskProgress], None]
    emit: Emit


def watch(meter: ProgressMeter, critic: str = "critic") -> Watch:
    """Return who shows all of it on one meter."""

    def stage(told: Progress) -> None:
        title = f"{told.task}: {_DOING[told.stage]}"
        meter.tell(title, told.done, told.of, pace(told), rest=told.seconds_left)

    def judged(state: AskProgress) -> None:
        silent = f"{state.abstained} of {state.critiques} without a verdict" if state.abstained else ""
        meter.tell(critic, state.done, state.of, silent)

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "stage":
            meter.say(str(event["stage"]))
        else:
            meter.tell(str(event.get("model", "model")), event["step"], event["of"])

    return Watch(stage, judged, emit)


def pace(stage: Progress) -> str:
    """Return how fast a stage is, and what failed."""
    parts = []
    if stage.seconds > 0 and stage.tokens:
        parts.append(f"{stage.tokens / stage.seconds:,.0f} tokens/s")
    elif stage.seconds > 0 and stage.asked:
        parts.append(f"{stage.asked / stage.seconds:,.0f}/s")
    parts += [f"{stage.failed:,} failed"] * bool(stage.failed)
    return " · ".join(parts)
