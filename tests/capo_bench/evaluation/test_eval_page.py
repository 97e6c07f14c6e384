"""Tables, page and examples: what a reader sees, and what hostile text cannot do to it."""

import csv
import io
from html.parser import HTMLParser

import pytest
from evaluating import ANSWERS, folder_of, rows_of, run_endpoint

from capo_bench.evaluation.watch import describe_pace
from capo_bench.pages.evaluation import KINDS, format_length, list_examples, share
from evals.estimates import Estimate
from evals.harness.progress import Progress

HOSTILE = "<script>alert(1)</script> {{ 7*7 }} \x1b[31m \u202e\u0000 </pre><img src=http://x> $\\boxed{<b>1</b>}$"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for name, value in attrs if name in {"src", "href"}]


@pytest.fixture
def mixed(answering, tmp_path):
    """Four problems: hostile, right, wrong, cut off."""
    order = list(ANSWERS)

    def say(problem, seed):
        kind = order.index(problem) % 4
        if kind == 3:
            return {"message": {"role": "assistant", "content": "and so on"}, "finish_reason": "length"}
        return [HOSTILE, f"\\boxed{{{ANSWERS[problem]}}}", "\\boxed{99}"][kind]

    return run_endpoint(answering(say), "--task", "coins_test", "--limit", 24, home=tmp_path)


def test_hostile_text_is_text(mixed):
    assert mixed.exit_code == 0, mixed.output
    page = (folder_of(mixed) / "report.html").read_text(encoding="utf-8")
    seen = Tags()
    seen.feed(page)
    assert not {"b", "iframe", "img"} & seen.tags
    assert page.count("<script") == 1
    assert all(source.startswith("#") for source in seen.sources)
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "\x1b" not in mixed.output


def test_there_is_a_response_of_each_kind(mixed):
    shown = list_examples(folder_of(mixed) / "tasks" / "coins_test")
    kinds = [title.partition(": ")[0].removeprefix("coins_test, ") for title, _ in shown]
    assert kinds == [kind for kind in KINDS if kind in kinds]
    assert {"right", "wrong", "without an answer", "truncated"} <= set(kinds)
    text = dict(zip(kinds, (text for _, text in shown), strict=True))["right"]
    reference = text.partition("Reference answer: ")[2].partition("\n")[0]
    assert text.endswith(f"\\boxed{{{reference}}}")


def test_every_number_of_the_table_file_has_its_n_and_cost(mixed):
    rows = list(csv.DictReader(io.StringIO((folder_of(mixed) / "table.csv").read_text())))
    assert {"accuracy", "no_answer", "truncated", "tokens", "steps", "failed"} <= {row["metric"] for row in rows}
    assert all(
        row["n"] and row["low"] and row["high"] and row["policy_tokens"] for row in rows if row["metric"] == "accuracy"
    )
    (accuracy,) = (row for row in rows if row["metric"] == "accuracy")
    assert rows_of(mixed, "coins_test")[0][1].startswith(f"{100 * float(accuracy['value']):.1f} [")


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(0.671, 0.02, 0.62, 0.71, 400), "67.1 [62, 71]"),
        (Estimate(0.671, 0.002, 0.665, 0.675, 400), "67.1 [66.5, 67.5]"),
        (Estimate(0.5, 0.02, 0.46, 0.54, 1319), "50.0 [46.0, 54.0]"),
        (Estimate(1.0, None, 0.025, 1.0, 1), "100.0 [2, 100]"),
        (None, "–"),
    ],
)
def test_shares_with_their_intervals(estimate, shown):
    assert share(estimate) == shown


def test_a_length_of_one_problem_has_no_interval():
    assert format_length(Estimate(12.0, None, None, None, 1)) == "12.0 [–]"
    assert format_length(Estimate(1234.5, 1.0, 1232.0, 1237.0, 9)) == "1,234.5 [1,232.0, 1,237.0]"


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (Progress("generate", "t", 64, 256, 64, 0, 6400, 4.0), "1,600 tokens/s"),
        (Progress("generate", "t", 192, 256, 64, 3, 6400, 4.0), "1,600 tokens/s · 3 failed"),
        (Progress("score", "t", 512, 512, 512, seconds=2.0), "256/s"),
        (Progress("generate", "t", 0, 8), ""),
    ],
)
def test_progress_in_words(stage, told):
    assert describe_pace(stage) == told
