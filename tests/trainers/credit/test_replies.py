"""Replies with a box for each step: what counts as a verdict, and what a hostile text cannot do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainers.credit.parse import parse
from trainers.credit.prompt import critique_prompt
from trainers.credit.replies import REPLIES
from trainers.critics.local import TransformersParams

NAMES = sorted(REPLIES)


def written(name: str, verdicts: str) -> str:
    """Return a reply in a format; of each step ``r`` or ``w``."""
    reply = REPLIES[name]
    words = {"r": reply.right, "w": reply.wrong}
    parts = [
        f"{reply.word} {number}:\nSome thoughts.\n" + reply.layout.format(f"\\boxed{{{words[verdict]}}}")
        for number, verdict in enumerate(verdicts, 1)
    ]
    return "\n\n".join(parts)


def read(name: str, text: str, steps: int = 3, **options: Any) -> Any:
    found = parse(text, "steps", steps, reply=name, **options)  # type: ignore[arg-type]
    return found if isinstance(found, str) else sorted(found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("verdicts", "wrong"), [("rrr", []), ("rwr", [1]), ("wrw", [0, 2])])
def test_a_reply_in_its_format_is_read(name: str, verdicts: str, wrong: list[int]) -> None:
    assert read(name, written(name, verdicts)) == wrong
    assert read(name, f"<think>{written(name, 'www')}</think>\n{written(name, verdicts)}") == wrong
    assert read(name, written(name, verdicts), truncated=True) == "truncated"


@pytest.mark.parametrize("name", NAMES)
def test_each_step_needs_a_verdict(name: str) -> None:
    assert read(name, written(name, "rr")) == "no_list"
    assert read(name, "") == "empty"
    assert read(name, "I cannot judge this solution.") == "refusal"
    assert read(name, written(name, "r"), steps=0) == "out_of_range"
    assert read(name, written(name, "rrrr")) == "out_of_range"


def test_who_stops_at_the_first_wrong_step_says_nothing_of_the_others() -> None:
    assert read("thinkprm", written("thinkprm", "rw")) == [1]
    assert read("thinkprm", written("thinkprm", "w")) == [0]
    assert read("stepwiser", written("stepwiser", "rw")) == "no_list"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("**Step 1:** fine. The step is \\boxed{correct}\n### Step 2\nThe step is $\\boxed{\\text{incorrect}}$", [1]),
        ("STEP 1: \\BOXED{CORRECT}\n  step 2. \\boxed{ incorrect }", [1]),
        ("Step 1: first \\boxed{incorrect}, no: \\boxed{correct}\nStep 2: \\boxed{correct}", []),
        ("Step 1: so x is \\boxed{42}. The step is \\boxed{correct}\nStep 2: \\boxed{correct}", []),
        ("Step 1: \\boxed{correct}\nIn step 2 all goes well: \\boxed{correct}", "no_list"),  # prose is no heading
        ("\\boxed{incorrect}\nStep 1: \\boxed{correct}\nStep 2: \\boxed{correct}", []),  # of no step
        ("Step 1: \\boxed{correct}\n> Step 2: \\boxed{incorrect}\nStep 2: \\boxed{correct}", []),  # quoted
        ("Step 1: \\boxed{correct/incorrect}\nStep 2: \\boxed{correct}", "no_list"),
        ("Step 1: \\boxed{correct}\nStep 0: \\boxed{incorrect}\nStep 2: \\boxed{correct}", "out_of_range"),
        ("Step 1: \\boxed{correct}\nStep 99999999999: \\boxed{incorrect}", "out_of_range"),
    ],
)
def test_by_hand(text: str, wrong: Any) -> None:
    assert read("thinkprm", text, steps=2) == wrong


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_the_instructions_is_no_verdict(name: str) -> None:
    assert read(name, REPLIES[name].example, steps=1) in {"empty", "no_list"}
    assert REPLIES[name].example in critique_prompt("?", ["a"], reply=name)  # type: ignore[arg-type]


pieces = st.sampled_from(
    ["Step 1:", "Step 2:", "Paragraph 3:", "step ９:", "\n", "> ", "<think>", "</think>", "\\boxed{", "}", "correct",
     "incorrect", "Yes", "No", "Positive", "Negative", "\\text{", "\u2028", "\ud800", "0" * 30, "x"]
)  # fmt: skip


@given(st.sampled_from(NAMES), st.lists(pieces, max_size=40).map("".join) | st.text(max_size=200), st.integers(0, 4))
def test_any_text_is_read_and_names_steps_that_are_there(name: str, text: str, steps: int) -> None:
    found = read(name, text, steps)
    assert isinstance(found, str) or set(found) <= set(range(steps))


LONG = [
    "Step 1" * 200_000,
    "\\boxed{" * 200_000,
    "* " * 500_000 + "Step",
    "Step " + "1" * 10**6,
    "\\boxed{ " + " " * 10**6,
]


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_a_text_of_a_million_characters_is_read(text: str) -> None:
    """In time that grows with its length: with its square it would be hours."""
    assert isinstance(read("thinkprm", text), str)


def test_the_embedded_critic_writes_lists() -> None:
    with pytest.raises(ValidationError, match="reply 'genprm' with the embedded critic, which is taught to end with"):
        TransformersParams(name="transformers", reply="genprm")
    assert TransformersParams(name="transformers", model="org/judge", reply="genprm").identity()["reply"] == "genprm"
