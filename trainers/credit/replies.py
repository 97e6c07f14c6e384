r"""Formats of a critic's reply beside CAPO's list: a verdict in a box under the heading of each step.

So write models that were trained to judge step by step: StepWiser (arXiv 2508.19229), GenPRM (arXiv 2504.00891) and
ThinkPRM (arXiv 2504.16828). A format is one value: what the prompt asks for, and the words by which it is read.

1. A heading is a line that starts with the format's word and a number from 1, as in ``Step 3:``. A number that no step
   has discards the critique (`out_of_range`).
2. A box that holds one of the format's two words, ``\boxed{correct}``, is a verdict on the step of the last heading.
   Of several under one heading, or under repeated ones, the last counts. Any other box is part of the analysis.
3. Each step needs a verdict, or there is none at all (`no_list`); of a format that stops at the first wrong step, each
   up to that one. Steps after it are not flagged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from trainers.credit.critique import Abstention

ReplyName = Literal["list", "stepwiser", "genprm", "thinkprm"]


@dataclass(frozen=True)
class BoxedReply:
    """A verdict in a box under the heading of each step.

    Attributes:
        word: What a heading starts with.
        layout: What stands under a heading, with ``{}`` for the box.
        stops: Whether nothing is said after the first wrong step.
    """

    word: str
    layout: str
    right: str
    wrong: str
    stops: bool = False

    @property
    def example(self) -> str:
        """How the instructions show a reply."""
        return f"{self.word} 1:\n" + self.layout.format(f"\\boxed{{{self.right}}}")

    @property
    def closing(self) -> str:
        """What the instructions end with."""
        stop = " Stop after the first wrong step." if self.stops else ""
        return (
            f"Take the steps in turn, each under a heading of its own. Write your analysis, and last a box that says"
            f" {self.right} if the step is right and {self.wrong} if it is wrong.{stop} For a right step:\n"
            f"{self.example}\n"
        )

    @cached_property
    def _parts(self) -> re.Pattern[str]:
        return re.compile(
            rf"^[\s*_#`~(\[-]*+{self.word}\s*+\[?(?P<number>\d++)[\s*_`~)\]]*+(?:[:.]|$)"
            rf"|\\boxed\{{\s*+(?:\\text\{{\s*+)?(?P<verdict>{self.right}|{self.wrong})\s*+\}}",
            re.IGNORECASE,
        )

    def read(self, lines: Sequence[str], steps: int) -> frozenset[int] | Abstention:
        """Return the indices (from 0) of the wrong steps, or why there is no verdict.

        Args:
            lines: The critic's own.
            steps: Number of the solution's steps.
        """
        wrong, place = dict[int, bool](), -1
        for part in (part for line in lines for part in self._parts.finditer(line)):
            if verdict := part["verdict"]:
                wrong[place] = verdict.lower() == self.wrong.lower()
            elif len(part["number"]) > 9 or not 1 <= int(part["number"]) <= steps:
                return "out_of_range"
            else:
                place = int(part["number"]) - 1
        flagged = frozenset(step for step, verdict in wrong.items() if verdict and step >= 0)
        due = min(flagged) + 1 if self.stops and flagged else steps
        return flagged if due and wrong.keys() >= {*range(due)} else "no_list"


REPLIES: dict[str, BoxedReply] = {
    "stepwiser": BoxedReply("Step", "Analysis: …\nFinal Judgment: {}", "Positive", "Negative"),
    "genprm": BoxedReply(
        "Paragraph", "<analyze>\n…\n</analyze>\n<output>\n**Judgement**: ${}$\n</output>", "Yes", "No"
    ),
    "thinkprm": BoxedReply("Step", "… The step is {}", "correct", "incorrect", stops=True),
}
