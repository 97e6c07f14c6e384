"""Progress of an evaluation, or of a critic's measurement, on a meter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capo_bench.run.meter import ProgressMeter

if TYPE_CHECKING:
    from capo_bench.critic.ask import AskProgress
    from evals.harness.progress import Progress

_DOING = {"generate": "generating", "score": "scoring"}


class Watch:
    """Shows the progress of an evaluation, or of a critic's measurement, on one meter."""

    def __init__(self, meter: ProgressMeter, critic_name: str = "critic") -> None:
        self._meter, self._critic = meter, critic_name

    def stage(self, progress: Progress) -> None:
        """Show how far a stage of an evaluation is."""
        title = f"{progress.task}: {_DOING[progress.stage]}"
        self._meter.tell(title, progress.done, progress.of, describe_pace(progress), rest=progress.seconds_left)

    def critic(self, state: AskProgress) -> None:
        """Show how many solutions have their critiques."""
        silent = f"{state.abstained} of {state.critiques} without a verdict" if state.abstained else ""
        self._meter.tell(self._critic, state.done, state.of, silent)

    def emit(self, event: dict[str, Any]) -> None:
        """Show an event of a model that is loaded or taught first."""
        if event["kind"] == "stage":
            self._meter.say(str(event["stage"]))
        else:
            self._meter.tell(str(event.get("model", "model")), event["step"], event["of"])


def describe_pace(stage: Progress) -> str:
    """Return a stage's speed and failures in words."""
    parts = []
    if stage.seconds > 0 and stage.tokens:
        parts.append(f"{stage.tokens / stage.seconds:,.0f} tokens/s")
    elif stage.seconds > 0 and stage.asked:
        parts.append(f"{stage.asked / stage.seconds:,.0f}/s")
    parts += [f"{stage.failed:,} failed"] * bool(stage.failed)
    return " · ".join(parts)
