"""What a language model does for a critic: continue prompts. Where it runs is the backend's business alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trainers.credit.critique import Abstention, Usage


@dataclass(frozen=True)
class Reply:
    """One continuation of one prompt.

    Attributes:
        text: What the model wrote, without special tokens; where it wrote nothing, what is known of the failure.
        truncated: Whether a limit on tokens cut it.
        failure: Why there is no text; None if there is one.
        usage: What it cost.
    """

    text: str
    truncated: bool = False
    failure: Abstention | None = None
    usage: Usage = field(default_factory=Usage)


class Backend(Protocol):
    """Runs a language model. What fails comes back as a reply with its `failure`; nothing is raised for one prompt.

    Attributes:
        eager: See `trainers.critics.base.Critic`.
    """

    eager: bool

    async def complete(
        self, prompts: Sequence[str], n: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Reply]]:
        """Return exactly n replies to each prompt, in order.

        Reply i to a prompt is drawn from the backend's seed, the prompt's text and i alone, as nearly as the machine
        allows.

        Args:
            prompts: Messages of a user; the backend puts them into the model's chat template where it has one.
            n: How many replies to each.
            first: Index of the first of them.
            greedy: Take the most likely reply (temperature 0).
        """
        ...

    async def close(self) -> None:
        """Free what the backend holds."""
        ...
