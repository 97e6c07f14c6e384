"""An evaluation: its tables, figure, page and files, and comparisons. No number without interval, n and cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from capo_bench.analysis.compare import Comparison
from capo_bench.pages import svg
from capo_bench.pages.page import Page, Section, write_page
from capo_bench.pages.svg import Axis, Figure, Look, Point, draw
from capo_bench.pages.text import NOTHING, Table, clip_text, format_csv_of_rows, write_yaml
from capo_bench.store.evaluations import Evaluated
from capo_bench.store.home import read_json
from evals.estimates import Estimate
from evals.files import write_atomic
from evals.harness.folder import read_samples, read_task
from evals.harness.results import Result
from evals.metrics import SAMPLED, Sample

_ENOUGH_PROBLEMS = 1000  # from here on an interval of per cents needs a decimal


_RESPONSES = ("no_answer", "truncated")
_RARE = ("unscored", "failed")


def build_tables(parts: dict[str, list[Result]]) -> list[Table]:
    """Return the tables of an evaluation, suite by suite: answers, responses, and steps where they were judged."""
    shown = []
    for name, results in parts.items():
        shown.append(answer_table(name, results))
        made = [result for result in results if result.identity["output"] == "generate"]
        shown += [build_response_table(name, made)] if made else []
        judged = [result for result in made if {"wrong_step_rate", "sampled_wrong_step_rate"} & result.metrics.keys()]
        shown += [build_step_table(name, judged)] if judged else []
    return shown


def answer_table(name: str, results: Sequence[Result]) -> Table:
    """Return what share of the answers is right: greedily, avg@k, pass@k and maj@k, and what that cost."""
    ranked = any(result.identity["output"] == "choose" for result in results)
    of_k = {"avg@k": "avg_at_", "pass@k": "pass_at_", "maj@k": "maj_at_"}
    drawn = any(result.identity["samples"] for result in results)
    headings = ["task", "accuracy", *[*of_k] * drawn, *["by length"] * ranked, "n × k", "tokens", "seconds"]
    rows = []
    for result in results:
        at_k = [f"{prefix}{result.identity['samples']}" for prefix in of_k.values()] * drawn
        metrics = ["accuracy", *at_k, *["accuracy_norm"] * ranked]
        shares = [share(result.metrics.get(metric)) for metric in metrics]
        shares[:2] = [f"{shown}{_bound(result, metric)}" for shown, metric in zip(shares[:2], metrics[:2], strict=True)]
        rows.append(
            (
                result.task,
                *shares,
                format_size(result),
                f"{result.cost['policy_tokens']:,.0f}",
                f"{sum_seconds(result):,.1f}",
            )
        )
    return Table(f"{name}: right answers, % [95 % interval]", tuple(headings), tuple(rows))


def _bound(result: Result, metric: str) -> str:
    """Return the accuracy if all answers are wrong that it leaves out, where it leaves any out."""
    least = result.metrics.get("known_right" if metric == "accuracy" else f"{SAMPLED}known_right")
    value = result.metrics.get(metric)
    left_out = value and least and metric.startswith(("accuracy", "avg_at_")) and least.value < value.value
    return f" (≥ {100 * least.value:.1f})" if left_out and least else ""


def build_response_table(name: str, results: Sequence[Result]) -> Table:
    """Return what is apart from right and wrong, and how long responses are; what happened nowhere has no column."""
    parts = list(_list_decodings(results))
    rare = [name for name in _RARE if any(_format_metric(result, f"{before}{name}") for result, before, _ in parts)]
    columns = [*_RESPONSES, *rare]
    rows = tuple(
        (
            label,
            *(share(result.metrics.get(f"{before}{metric}")) for metric in columns),
            format_length(result.metrics.get(f"{before}tokens")),
            format_length(result.metrics.get(f"{before}steps")),
            format_size(result, sampled=bool(before)),
        )
        for result, before, label in parts
    )
    headings = ("task", *(metric.replace("_", " ") for metric in columns), "tokens each", "steps each", "n × k")
    return Table(f"{name}: responses, % and lengths [95 % interval]", headings, rows)


def build_step_table(name: str, results: Sequence[Result]) -> Table:
    """Return how many steps are wrong; the title says who says so."""
    critics = any("critiques" in result.cost for result in results)
    rows = tuple(
        (
            label,
            *(share(result.metrics.get(f"{before}{metric}")) for metric in ("wrong_step_rate", "flawed_right")),
            *[count_abstained(result)] * critics,
            format_size(result, sampled=bool(before)),
        )
        for result, before, label in _list_decodings(results)
    )
    headings = ("task", "wrong steps", "right by wrong steps", *["no verdict"] * critics, "n × k")
    judges = ", ".join(dict.fromkeys(judge(result) for result in results))
    return Table(f"{name}: steps, % [95 % interval], judged by {judges}", headings, rows)


def share(estimate: Estimate | None) -> str:
    """Return a share in per cent with its interval: ``67.1 [62, 71]``."""
    if estimate is None:
        return NOTHING
    fine = estimate.n >= _ENOUGH_PROBLEMS
    return f"{100 * estimate.value:.1f}{_format_interval(estimate, 100, fine=fine)}"


def format_length(estimate: Estimate | None) -> str:
    """Return a length with its interval: ``41.3 [39.0, 43.6]``."""
    return NOTHING if estimate is None else f"{estimate.value:,.1f}{_format_interval(estimate, 1, fine=True)}"


def format_size(result: Result, *, sampled: bool = True) -> str:
    """Return problems × answers of each: sampled ones, or the greedy one."""
    return f"{result.identity['problems']:,} × {(sampled and result.identity['samples']) or 1}"


def _list_decodings(results: Iterable[Result]) -> Iterator[tuple[Result, str, str]]:
    """Yield, for each decoding of each result, how its metrics begin and how a row is called."""
    for result in results:
        if result.identity["greedy"]:
            yield result, "", result.task
        if result.identity["samples"]:
            yield result, SAMPLED, f"{result.task}, sampled"


def sum_seconds(result: Result) -> float:
    """Return what a task took in all."""
    return sum(value for name, value in result.cost.items() if name.endswith("_seconds"))


def judge(result: Result) -> str:
    """Return who judged the steps of a task."""
    critic = result.identity.get("critic")
    if critic is None:
        return "the exact checker"
    return f"{critic['name']}, {critic['vote']} of {critic['critiques']}"


def count_abstained(result: Result) -> str:
    """Return how many critiques came without a verdict."""
    if "critiques" not in result.cost:
        return NOTHING
    return f"{result.cost['abstained']:,.0f} of {result.cost['critiques']:,.0f}"


def format_metrics_csv(results: Iterable[Result]) -> str:
    """Return every number of every task: one line a task and metric, shares from 0 to 1."""
    return format_csv_of_rows(
        [
            {
                **{"task": result.task, "metric": name, **asdict(estimate)},
                **{"samples": result.identity["samples"], "policy_tokens": result.cost["policy_tokens"]},
                "seconds": round(sum_seconds(result), 3),
            }
            for result in results
            for name, estimate in result.metrics.items()
        ]
    )


def _format_metric(result: Result, metric: str) -> float:
    return result.metrics[metric].value if metric in result.metrics else 0.0


def _format_interval(estimate: Estimate, scale: float, *, fine: bool) -> str:
    if estimate.low is None or estimate.high is None:
        return " [–]"
    low, high = (scale * bound for bound in (estimate.low, estimate.high))
    digits = 1 if fine or high - low < 3 else 0
    return f" [{low:,.{digits}f}, {high:,.{digits}f}]"


def build_comparison_table(comparison: Comparison) -> Table:
    """Return evaluations side by side, each with its difference to the first."""
    rows = tuple(
        (
            *(row["task"], row["model"], row["metric"], share(row["value"]), *_format_difference(row["difference"])),
            *(f"{row['problems']:,} × {row['answers']}", f"{row['tokens']:,.0f}"),
        )
        for row in comparison.rows
    )
    headings = ("task", "model", "of", "right", f"minus {comparison.first}", "SE", "paired", "n × k", "tokens")
    return Table("Right answers, % [95 % interval]; differences paired by problem", headings, rows)


def _format_difference(change: Estimate | None) -> tuple[str, str, str]:
    if change is None:
        return NOTHING, NOTHING, NOTHING
    bounds = f" [{_format_signed(change.low)}, {_format_signed(change.high)}]" if change.low is not None else " [–]"
    error = NOTHING if change.stderr is None else f"{100 * change.stderr:.1f}"
    return f"{_format_signed(change.value)}{bounds}", error, f"{change.n:,}"


def _format_signed(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:+.1f}".replace("-", "−")


NOTES = (
    "Accuracy is of the greedy answer (temperature 0), or of the option ranked first. avg@k is the mean over problems "
    "of the share of right answers among k samples; pass@k the chance that one of k is "
    "right, maj@k that the right answer wins their vote. Intervals know that samples of a problem go together: they "
    "say what another draw of problems like these would give.",
    "A response without an answer, or cut at the token limit before one, is wrong; one that the verifier could not "
    "judge (unscored) or that never came (failed) is left out, and counted.",
)


KINDS = ("right", "right by wrong steps", "wrong", "without an answer", "truncated", "not scored")

LONGEST = 3000
"""Characters of a text that are shown."""


def write_evaluation(evaluated: Evaluated) -> None:
    """Write table, figure and page of an evaluation beside its tasks' own files."""
    files, results = evaluated.files, evaluated.results
    write_atomic(files.table, format_metrics_csv(results))
    identities = {result.task: dict(result.identity) for result in results}
    texts = {"Identity": identities, "Data": evaluated.record["sources"], "Environment": read_json(files.provenance)}
    whole = [
        Section(
            "Responses to look at", folded=[text for each in results for text in list_examples(files.task(each.task))]
        ),
        Section("Provenance", folded=[(name, write_yaml(value)) for name, value in texts.items()]),
    ]
    page = build_evaluation_page(evaluated)
    write_page(replace(page, sections=[*page.sections, *whole]), files.folder)


def build_evaluation_page(evaluated: Evaluated) -> Page:
    """Return the page of an evaluation with its numbers alone."""
    return Page(
        title=evaluated.title,
        about=describe_evaluation(evaluated),
        figure=draw_accuracies(evaluated.results),
        sections=[Section("Results", tables=build_tables(evaluated.by_suite()), notes=NOTES)],
    )


def draw_accuracies(results: Sequence[Result]) -> Figure | None:
    """Draw one line a task: greedy accuracy as a circle, avg@k as a square, pass@k as a hollow diamond."""
    lines, words = [], list[str]()
    for result in results:
        k = result.identity["samples"]
        shapes = {
            "accuracy": ("accuracy", Look(), False),
            f"avg_at_{k}": (f"avg@{k}", Look("#8c8c8c", "square"), False),
            f"pass_at_{k}": (f"pass@{k}", Look(shape="diamond"), True),
        }
        points = []
        for metric, (name, look, hollow) in shapes.items():
            if (estimate := result.metrics.get(metric)) is not None:
                words.append(f"{result.task}: {name} {share(estimate)} %")
                low, high = estimate.low, estimate.high
                across = None if low is None or high is None else (100 * low, 100 * high)
                points.append(Point(100 * estimate.value, note=words[-1], across=across, hollow=hollow, look=look))
        lines += [(f"{result.task}, {format_size(result)}", points)] if points else []
    if not lines:
        return None
    caption = (
        "Share of right answers by task with 95 % intervals: a circle is the accuracy of greedy answers, a grey square "
        "avg@k of sampled ones, a hollow diamond their pass@k. Beside the task: problems × answers of each."
    )
    return draw("accuracies", caption, "; ".join(words), svg.build_rows(lines, Axis("right answers (%)", 0, 100)))


def list_examples(folder: Path) -> list[tuple[str, str]]:
    """Return one response of each kind that a scored task has: what it is, and problem, reference and response."""
    record, first = read_task(folder), dict[str, Sample]()
    for sample in read_samples(folder):
        for kind in _list_kinds(sample):
            first.setdefault(kind, sample)
    problems = {asked.problem.id: asked.problem for asked in record.asked}
    shown = []
    for kind, sample in ((kind, first[kind]) for kind in KINDS if kind in first):
        problem, wrong = problems[sample["problem"]], sample.get("wrong_steps")
        steps = (
            "" if wrong is None else f" · steps called wrong: {', '.join(str(step + 1) for step in wrong) or 'none'}"
        )
        title = f"{record.identity['task']}, {kind}: {sample['problem']} · {sample['tokens']} tokens{steps}"
        parts = (problem.prompt, f"Reference answer: {problem.answer}", sample["completion"])
        shown.append((title, "\n\n".join(clip_text(part, LONGEST) for part in parts)))
    return shown


def _list_kinds(sample: Sample) -> list[str]:
    if sample["status"] == "failed":
        return []
    if sample["correct"] is None:
        return ["not scored"]
    kinds = ["right by wrong steps"] if sample["correct"] and sample.get("wrong_steps") else []
    kinds += ["truncated"] if sample["truncated"] else []
    if sample["status"] == "no_answer":
        return [*kinds, "without an answer"]
    return [*kinds, "right" if sample["correct"] else "wrong"]


def describe_evaluation(evaluated: Evaluated) -> str:
    """Return what holds for all tasks, in one line."""
    model = evaluated.results[0].identity["model"]
    parts = [f"backend {model['backend']}"]
    parts += [f"{key} {model[key]}" for key in ("dtype", "template", "revision") if model.get(key)]
    return " · ".join([*parts, f"seed {evaluated.record['identity']['seed']}", f"evaluation {evaluated.id}"])
