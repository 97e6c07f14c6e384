"""Verdicts, from end to end with real worker processes."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evals.verify
from evals.verify import VERIFIER_VERSION, Verdict, Verifier


def box(answer: str) -> str:
    return rf"Therefore it is \boxed{{{answer}}}."


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=1, deadline_s=5.0, memory_mb=512) as made:
        yield made


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("0.5", r"\frac{1}{2}"),
        ("1/2", r"\dfrac12"),
        (r"\frac{6}{8}", r"\frac{3}{4}"),
        ("50%", r"50\%"),
        (r"25\%", "25"),
        (r"\{2, 1\}", r"\{1, 2\}"),
        ("13, 11", "$11$,$13$"),
        ("[1, 2)", r"\left[1,2\right)"),
        (r"(3,\infty)\cup(-\infty,2)", r"(-\infty,2)\cup(3,\infty)"),
        ("(1, -2)", r"\left( 1, -2 \right)"),
        ("x^2 + 2x + 1", "(x+1)^2"),
        (r"\sqrt{8}", r"2\sqrt2"),
        ("5", "x=5"),
        (r"12 \text{ cm}", "12"),
        ("10080", r"10,\!080"),
        (r"\text{(C)}", "C"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
        ("0.3333333", r"\frac13"),
    ],
)
def test_equal_answers_are_right_however_they_are_written(verifier: Verifier, answer: str, reference: str) -> None:
    [verdict] = verifier.verify([(box(answer), reference)])
    assert (verdict.correct, verdict.status) == (True, "right")


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("0.4", r"\frac{1}{2}"),
        (r"\{1, 2, 3\}", r"\{1, 2\}"),
        ("(1, 2]", "[1, 2)"),
        ("(2, 1)", "(1, 2)"),
        ("x^2 + 1", "(x+1)^2"),
        (r"\text{(D)}", "C"),
        (r"\notacommand???", "5"),
        (r"\frac{1}{0}", "5"),
    ],
)
def test_other_answers_are_wrong(verifier: Verifier, answer: str, reference: str) -> None:
    [verdict] = verifier.verify([(box(answer), reference)])
    assert (verdict.correct, verdict.status) == (False, "wrong")


def test_plain_numbers_and_equal_text_start_no_process() -> None:
    with Verifier() as verifier:
        verdicts = verifier.verify(
            [(box("7"), "7"), (box("8"), "7"), (box("27"), "27.0"), (box(r"\frac{x}{2}"), r"$\frac{x}{2}$.")]
        )
        assert [verdict.correct for verdict in verdicts] == [True, False, True, True]
        assert [verdict.seconds for verdict in verdicts] == [0.0] * 4
        assert verifier.pool.pids() == []


def test_a_completion_without_an_answer_is_wrong_and_counted_apart() -> None:
    for completion in ("", "no idea", r"\boxed{}", r"\boxed{ $ $ }", r"\boxed{5"):
        assert Verifier().verify([(completion, "5")], style="stated") == [Verdict(False, "no_answer", None, 0.0)]


def test_the_style_says_where_an_answer_may_stand() -> None:
    pairs = [("the answer is 5", "5"), ("so 5", "5")]
    assert [v.status for v in Verifier().verify(pairs, style="boxed")] == ["no_answer", "no_answer"]
    assert [v.status for v in Verifier().verify(pairs, style="stated")] == ["right", "no_answer"]
    assert [v.status for v in Verifier().verify(pairs)] == ["right", "right"]


def test_an_answer_over_the_caps_is_refused_by_rule() -> None:
    [verdict] = Verifier().verify([(box("9^{9^{9^9}}"), "5")])
    assert verdict == Verdict(False, "rejected", "9^{9^{9^9}}", 0.0)


def test_a_refused_answer_is_not_kept_whole() -> None:
    [verdict] = Verifier().verify([(box("1+" * 40_000 + "1"), "5")])
    assert verdict.status == "rejected"
    assert len(verdict.answer or "") == 1000


def test_a_reference_over_the_caps_can_still_be_matched() -> None:
    long = "+".join("x" * 600)
    assert Verifier().verify([(box(long), long)])[0].correct is True


def test_a_reference_may_be_boxed() -> None:
    assert Verifier().verify([(box("5"), r"We get \boxed{5}")])[0].correct is True


@pytest.mark.parametrize(
    "completion",
    [
        r"\boxed{" * 300_000,
        "{" * 2_000_000,
        "1," * 1_000_000,
        "the answer is $" * 100_000,
        "\x00" * 1_000_000,
        "answer" + " " * 2_000_000,
        box("\x00\x1b[2J5"),
        box("\ud800"),
    ],
)
def test_no_text_of_any_size_reaches_a_worker_uncapped(completion: str) -> None:
    with Verifier() as verifier:
        [verdict] = verifier.verify([(completion, "5")])
        assert verdict.correct is False
        assert verdict.status in ("wrong", "no_answer", "rejected")
        assert verifier.pool.pids() == []


def test_verdicts_come_in_order_and_equal_questions_are_asked_once(verifier: Verifier) -> None:
    pairs = [
        (box("0.25"), r"\frac14"),
        (box("3"), "4"),
        ("?", "4"),
        (box("0.25"), r"\frac14"),
        (box("x+x"), "2x"),
        (box("x+x"), "2x"),
    ]
    first = verifier.verify(pairs)
    assert [verdict.status for verdict in first] == ["right", "wrong", "no_answer", "right", "right", "right"]
    assert first[0] == first[3]
    assert first[4] == first[5]
    assert first[4].seconds > 0
    again = verifier.verify(pairs)
    assert [verdict.seconds for verdict in again] == [0.0] * 6
    assert [verdict.correct for verdict in again] == [verdict.correct for verdict in first]


def test_a_hostile_answer_is_an_abstention_and_remembered() -> None:
    hostile, good = (box("f(x)+(x+y+z+w)^{200}"), "x^2+y+z+w+f"), (box("0.75"), r"\frac34")
    with Verifier(deadline_s=0.5, memory_mb=512) as verifier:
        first, second = verifier.verify([hostile, good])
        assert (first.correct, first.status) == (None, "timeout")
        assert second.correct is True
        [again] = verifier.verify([hostile])
        assert (again.status, again.seconds) == ("timeout", 0.0)


def test_it_works_in_threads_and_gives_each_its_own(verifier: Verifier) -> None:
    found: dict[int, list[bool | None]] = {}

    def ask(number: int) -> None:
        pairs = [(box(f"{number}/7"), rf"\frac{{{other}}}{{7}}") for other in range(4)]
        found[number] = [verdict.correct for verdict in verifier.verify(pairs)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == {number: [number == other for other in range(4)] for number in range(4)}


def test_no_pairs_no_verdicts() -> None:
    assert Verifier().verify([]) == []


@pytest.mark.parametrize("limits", [{"workers": 0}, {"deadline_s": 0.0}, {"memory_mb": 64}])
def test_limits_too_small_to_work_with_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 256 MiB"):
        Verifier(**limits)


def test_the_version_names_all_that_a_verdict_depends_on() -> None:
    ours, *packages = VERIFIER_VERSION.split("+")
    assert ours.isdigit()
    assert [package.rpartition("-")[0] for package in packages] == ["math-verify", "latex2sympy2-extended", "sympy"]


def test_the_parent_never_imports_a_parser() -> None:
    code = (
        "import sys\nfrom evals.verify import Verifier\n"
        r"with Verifier() as v: assert v.verify([(r'\boxed{0.5}', r'\frac12')])[0].correct"
        "\nassert not {'sympy', 'math_verify', 'latex2sympy2_extended', 'torch', 'numpy'} & set(sys.modules)"
    )
    root = Path(evals.verify.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)


def _rows(path: Path, count: int) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["answer"] for line, _ in zip(lines, range(count), strict=False)]


def test_real_references_verify_against_themselves_and_not_their_neighbours(
    verifier: Verifier, benchmark_data: Path
) -> None:
    answers = _rows(benchmark_data / "math500" / "test.jsonl", 40)
    same = verifier.verify([(box(answer), answer) for answer in answers])
    assert [verdict.status for verdict in same] == ["right"] * 40
    parsed = verifier.verify([(box(rf"\displaystyle {answer}"), answer) for answer in answers])
    assert [answer for answer, verdict in zip(answers, parsed, strict=True) if not verdict.correct] == []
    neighbours = [(ours, other) for ours, other in itertools.pairwise(answers) if ours != other]
    other = verifier.verify([(box(ours), theirs) for ours, theirs in neighbours])
    equal = [pair for pair, verdict in zip(neighbours, other, strict=True) if verdict.status != "wrong"]
    assert equal == [("5", "x=5")]  # a value answers an assignment
