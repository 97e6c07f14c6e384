r"""Define reply formats other than CAPO's list: a boxed verdict under the heading of each step.

Models that were trained to judge step by step use such formats: StepWiser (arXiv 2508.19229), GenPRM (arXiv 2504.00891)
and ThinkPRM (arXiv 2504.16828). Each format is one value: what the prompt asks for, and the words that the parser
reads.

1. A heading is a line that starts with the format's word and a number from 1, as in ``Step 3:``. A number that no step
   has discards the critique (`out_of_range`).
2. A box that contains one of the format's two words, ``\boxed{correct}``, is a verdict on the step of the last heading.
   If there are several under one heading, or under repeated headings, the last counts. Any other box is ignored.
3. Each step needs a verdict; otherwise the critique has none (`no_list`). For a format that stops at the first wrong
   step, each step up to that one needs a verdict. Steps after it are not flagged.
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
    """A reply with a boxed verdict under the heading of each step.

    Attributes:
        word: First word of a heading.
        layout: Text under a heading, with ``{}`` for the box.
        stops: Whether the reply ends after the first wrong step.
    """

    word: str
    layout: str
    right: str
    wrong: str
    stops: bool = False

    @property
    def example(self) -> str:
        """Example of a reply, for the instructions."""
        return f"{self.word} 1:\n" + self.layout.format(f"\\boxed{{{self.right}}}")

    @property
    def closing(self) -> str:
        """Last part of the instructions."""
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
        """Return the indices (from 0) of the wrong steps, or the reason why there is no verdict.

        Args:
            lines: The critic's own lines.
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
