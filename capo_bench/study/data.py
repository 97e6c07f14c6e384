"""Check the training data of a study: its rows must be valid, and its start must fit the backbone and the method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from capo_bench.study.errors import StudyError
from capo_bench.study.expand import Draft
from capo_bench.study.plan import Variant
from capo_bench.study.resolve import Base
from evals.tasks.demonstrations import DemonstrationSet
from evals.tasks.named import find_benchmark, find_demonstrations
from evals.tasks.rows import MOST_TOLD, DataErrors
from evals.tasks.training_sets import TrainingSet, load_named_problems
from trainers.backbones import BACKBONES
from trainers.config import DRAWN_TASKS, ColdStartConfig, TrialConfig
from trainers.methods import METHODS
from trainers.teaching import SftConfig

Rows = TrainingSet | DemonstrationSet


def check_row_files(variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield the errors in row files that a study names, with the line in the study and the line in the file."""
    for variant in variants:
        for path, rows in list_rows(variant.config):
            if rows.source is None or rows.source.file is None:
                continue  # on a hub; `check_rows` loads it
            try:
                rows.all  # noqa: B018 - reads and checks them
            except DataErrors as errors:
                place, key = base.locate(drafts[variant.name], path), ".".join(path)
                for rule, way_out in _split_flaws(errors.flaws):
                    yield StudyError(place, f"{key}: {rule}", way_out)


def check_rows(configs: Sequence[TrialConfig]) -> None:
    """Load all rows that trials train on, and those that the study evaluates on, including rows on the hub.

    Raises:
        DataErrors: Rows are invalid; lists all errors.
    """
    flaws: dict[str, None] = {}
    for config in configs:
        for _, rows in list_rows(config):
            try:
                rows.all  # noqa: B018 - reads and checks them
            except DataErrors as errors:
                flaws.update(dict.fromkeys(errors.flaws))
    if flaws:
        raise DataErrors(list(flaws))


def list_rows(config: TrialConfig) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Yield the rows that a trial's settings name, with the path of the setting that names them."""
    benchmark = find_benchmark(config.benchmark)
    if isinstance(benchmark, TrainingSet):
        yield ("benchmark",), benchmark
    if isinstance(config.supervised, SftConfig):
        yield ("cold_start", "demonstrations"), find_demonstrations(config.supervised.demonstrations)
    for name in config.evaluation.tasks:
        if name in config.evaluation.rows:
            yield ("evaluation", "rows", name), load_named_problems(config.evaluation.rows[name])


def list_used_rows(config: TrialConfig) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Yield the rows that a trial uses: `list_rows` without the benchmark of a method that does not train."""
    trains = METHODS.get(config.method).train is not None
    return (each for each in list_rows(config) if trains or each[0] != ("benchmark",))


def _split_flaws(flaws: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the rule and the way out of the first `MOST_TOLD` flaws."""
    for flaw in flaws[:MOST_TOLD]:
        rule, _, way_out = flaw.rpartition("; ")
        yield (rule, way_out) if rule else (way_out, "")
    if len(flaws) > MOST_TOLD:
        yield f"{len(flaws) - MOST_TOLD:,} more errors", "mend the first ones first"


def check_start(config: TrialConfig) -> Iterator[tuple[str, str, str]]:
    """Yield conflicts of the supervised training with the backbone or the method: setting, rule, way out."""
    backbone, start, name = BACKBONES.load(config.backbone), config.supervised, f"backbone {config.backbone!r}"
    if backbone.source == "embedded":
        if start is None and METHODS.get(config.method).heeds("cold_start"):
            yield "backbone", f"{name} has random weights and needs a cold start", "set cold_start: {}"
        elif start is None:
            yield (
                "backbone",
                f"{name} has random weights, and method {config.method!r} takes it as it is",
                "set method: sft, which is the model after its supervised training",
            )
        elif isinstance(start, ColdStartConfig) and config.benchmark in DRAWN_TASKS and config.benchmark != start.task:
            rule = f"cold_start.task is {start.task!r}, and benchmark {config.benchmark!r} has other problems"
            yield "cold_start", rule, f"set cold_start.task to {config.benchmark}"
    elif isinstance(start, ColdStartConfig):
        yield (
            "backbone",
            f"{name} is trained already, and cold_start names no demonstrations",
            "name some, as in cold_start: {demonstrations: {file: sft.jsonl}}, or set cold_start: null",
        )
    elif config.method == "sft" and start is None:
        yield (
            "method",
            f"method 'sft' is the model after supervised training, and {name} gets none",
            "name demonstrations (cold_start.demonstrations), or set method: base for the model as it is",
        )
    if isinstance(start, SftConfig):
        yield from _check_demonstrations(config, start)


def _check_demonstrations(config: TrialConfig, start: SftConfig) -> Iterator[tuple[str, str, str]]:
    backbone, name = BACKBONES.load(config.backbone), f"backbone {config.backbone!r}"
    named = start.demonstrations
    if not isinstance(named, str) and named.messages and backbone.template != "chat":
        rule = f"column {named.messages!r} holds conversations, and {name} has template {backbone.template!r}"
        way_out = "give the backbone template: chat, or name columns of problems and solutions (prompt, completion)"
        yield "cold_start.demonstrations", rule, way_out
