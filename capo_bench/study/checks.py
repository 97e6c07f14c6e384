"""Rules that hold among the parts of a study: names that must exist, variants that must differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from capo_bench.study.errors import StudyError, shown
from capo_bench.study.expand import Draft, Sources, drafts, excluded
from capo_bench.study.keys import dotted_keys, suggestion
from capo_bench.study.plan import Plan, Variant
from capo_bench.study.resolve import Base
from capo_bench.study.spec import Sweep
from evals.benchmarks import BENCHMARKS
from evals.config import EvaluationConfig
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.methods import METHODS
from trainers.prm.config import TAUGHT_ON


def bad_sweep(sweep: Sweep, sources: Sources) -> Iterator[StudyError]:
    """Yield what is wrong with matrix, zip and exclude as they stand."""
    for key in sweep.matrix.keys() & sweep.zip.keys():
        rule = f"key {key!r} is in matrix and in zip; a key is swept in one of them"
        yield StudyError(sources.at("zip", key).place(), f"zip.{key}", key, rule, "remove it from one of them")
    for key, values in sweep.matrix.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                rule = f"matrix.{key} has {shown(value)} twice"
                yield StudyError(sources.at("matrix", key, index).place(), f"matrix.{key}", value, rule, "remove one")
    yield from _bad_exclude(sweep, sources)


def _bad_exclude(sweep: Sweep, sources: Sources) -> Iterator[StudyError]:
    if not sweep.exclude:
        return
    rows = [draft.settings for draft in drafts(sweep.model_copy(update={"exclude": [], "include": []}), sources)]
    for index, entry in enumerate(sweep.exclude):
        if not any(excluded(row, entry) for row in rows):
            rule = f"exclude entry {shown(entry)} removes nothing: no combination of matrix and zip has these values"
            place = sources.at("exclude", index).place()
            yield StudyError(place, f"exclude[{index}]", entry, rule, "correct its keys or values, or remove it")
    if all(any(excluded(row, entry) for entry in sweep.exclude) for row in rows):
        rule = f"exclude {shown(sweep.exclude)} removes all {len(rows)} combinations of matrix and zip"
        yield StudyError(sources.at("exclude").place(), "exclude", sweep.exclude, rule, "leave at least one")


def bad_names(sweep: Sweep, sources: Sources, found: Sequence[Draft]) -> Iterator[StudyError]:
    """Yield names of variants that are given twice, and baseline or start that name none."""
    names = [draft.name for draft in found]
    for index, item in enumerate(sweep.include):
        if names.count(item.name) > 1:
            rule = f"two variants are named {item.name!r}: one of the matrix and one of include"
            place = sources.at("include", index, "name").place()
            yield StudyError(place, f"include[{index}].name", item.name, rule, "rename the one in include")
    for role, name in (("baseline", sweep.baseline), ("start", sweep.start)):
        if name is not None and name not in names:
            way_out = suggestion(name, names).replace("known keys", "variants")
            place = sources.at(role).place()
            yield StudyError(place, role, name, f"{role} {name!r} is not a variant of the study", way_out)


def bad_counterparts(
    sweep: Sweep, sources: Sources, variants: Sequence[Variant], found: Mapping[str, Draft]
) -> Iterator[StudyError]:
    """Yield keys of `within` that there are not, and variants that it leaves without a baseline to compare with."""
    known = dotted_keys(TrialConfig)
    for index, key in enumerate(sweep.within):
        if key not in known:
            place = sources.at("within", index).place()
            yield StudyError(place, "within", key, f"within: unknown key {key!r}", suggestion(key, known))
    if any(key not in known for key in sweep.within):
        return
    plan = Plan("", "", "", "", sweep.baseline, sweep.start, (), tuple(variants), (), tuple(sweep.within))
    for variant in variants:
        if plan.baseline_of(variant.name) is None and plan.start_of(variant.name) != variant.name:
            told = ", ".join(sweep.within)
            rule = f"variant {variant.name!r}: no variant is baseline {sweep.baseline!r} with its {told}"
            place = found[variant.name].source.place()
            yield StudyError(place, variant.name, told, rule, "add that variant, or remove within")


def bad_metrics(sweep: Sweep, sources: Sources, variants: Sequence[Variant]) -> Iterator[StudyError]:
    """Yield metrics of tasks that a variant is not measured on."""
    for index, metric in enumerate(sweep.metrics):
        task = metric.partition("/")[0]
        lacking = [variant for variant in variants if task not in variant.config.evaluation.tasks]
        if lacking:
            place = sources.at("metrics", index).place()
            rule = f"metric {metric!r}: task {task!r} is not in evaluation.tasks of variant {lacking[0].name!r}"
            hint = suggestion(task, lacking[0].config.evaluation.tasks).replace("known keys", "tasks")
            yield StudyError(place, "metrics", metric, rule, hint)


def bad_measurements(
    variants: Sequence[Variant], found: Mapping[str, Draft], base: Base, baseline: str
) -> Iterator[StudyError]:
    """Yield variants that are measured in another way than the baseline: their numbers may not be compared."""
    first = next((variant for variant in variants if variant.name == baseline), None)
    for variant in variants if first else ():
        assert first is not None
        for key in {*EvaluationConfig.model_fields} - {"tasks", "data_dir", "batch_size"}:
            theirs, ours = getattr(first.config.evaluation, key), getattr(variant.config.evaluation, key)
            if theirs != ours:
                place = base.locate(found[variant.name], ("evaluation", key))
                name = f"evaluation.{key}"
                rule = f"variant {variant.name!r} has {name} {ours!r} and baseline {baseline!r} has {theirs!r}"
                way_out = "numbers measured in two ways are not compared: set it in base, for all"
                yield StudyError(place, name, ours, rule, way_out)


def bad_starts(variants: Sequence[Variant], found: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield embedded backbones without a cold start, and backbones from a hub with one."""
    for variant in variants:
        embedded = BACKBONES.load(variant.config.backbone).source == "embedded"
        start = variant.config.cold_start
        if embedded == (start is None):
            place = base.locate(found[variant.name], ("backbone",))
            name = f"variant {variant.name!r}: backbone {variant.config.backbone!r}"
            if embedded:
                rule, way_out = f"{name} has random weights and needs a cold start", "set cold_start: {}"
            else:
                rule, way_out = f"{name} is trained already and takes no cold start", "set cold_start: null"
            yield StudyError(place, "cold_start", start, rule, way_out)


def bad_judges(variants: Sequence[Variant], found: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield variants whose critic or process reward model cannot judge the steps of what they train on."""
    for variant in variants:
        uses = METHODS.get(variant.config.method).uses
        for judge, unfit in _UNFIT:
            for key, value, rule, way_out in unfit(variant.config) if judge in uses else ():
                place = base.locate(found[variant.name], (judge,))
                yield StudyError(place, key, value, f"variant {variant.name!r}: {rule}", way_out)


_Unfit = Iterator[tuple[str, str, str, str]]
"""Key, its value, the rule that it breaks, and the way out."""


def _without_checker(config: TrialConfig) -> _Unfit:
    """A critic that asks the benchmark's checker of steps, where the benchmark has none."""
    asks = config.critic.asks_checker or config.critic.embedded_critic is not None
    if asks and not BENCHMARKS.get(config.benchmark).checks_steps:
        known = [name for name in BENCHMARKS.names() if BENCHMARKS.get(name).checks_steps]
        rule = f"critic {config.critic.name!r} rests on a checker of steps, and benchmark {config.benchmark!r} has none"
        way_out = f"name a critic that is a language model of its own, or train on {', '.join(known)}"
        yield "critic", config.critic.name, rule, way_out


def _unread(config: TrialConfig) -> _Unfit:
    """A policy that is to be its own critic and cannot read what a critic is asked."""
    if config.critic.asks_policy and BACKBONES.load(config.backbone).source == "embedded":
        rule = (
            f"critic.model is 'policy', and backbone {config.backbone!r} knows solutions of {config.benchmark} and no "
            "other text: every critique would abstain"
        )
        yield "critic.model", "policy", rule, "set critic.model to 'embedded', or backbone to one of a hub or a folder"


def _untaught(config: TrialConfig) -> _Unfit:
    """The embedded process reward model, asked of problems that it was not taught."""
    if config.prm.taught is not None and config.benchmark != TAUGHT_ON:
        model = config.prm.model
        rule = f"prm.model {model!r} is taught on {TAUGHT_ON}, and benchmark {config.benchmark!r} is another"
        yield "prm.model", model, rule, f"set prm.model to a folder or a repository id, or train on {TAUGHT_ON}"


_UNFIT = (("critic", _without_checker), ("critic", _unread), ("prm", _untaught))


def bad_budgets(variants: Sequence[Variant], found: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield variants whose budget weighs the tokens of a critic of which nobody says how large it is."""
    for variant in variants:
        config, budget = variant.config, variant.config.train.budget
        weighs = budget is not None and budget.total_tokens is not None
        if weighs and "critic" in METHODS.get(config.method).uses and not config.critic.size_known:
            place = base.locate(found[variant.name], ("critic",))
            rule = (
                f"variant {variant.name!r}: train.budget.total_tokens weighs the critic's tokens by its size, and "
                f"nothing says how large {getattr(config.critic, 'model', config.critic.name)!r} is"
            )
            yield StudyError(place, "critic.parameters", None, rule, "set critic.parameters, as in 72.7e9")


def bad_processes(variants: Sequence[Variant], found: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield variants whose rollouts of a step do not divide among the processes that train their backbone."""
    for variant in variants:
        train, backbone = variant.config.train, BACKBONES.load(variant.config.backbone)
        processes, micro_batch = backbone.processes, train.micro_batch or backbone.micro_batch
        rollouts, parts = train.prompts_per_step * train.group_size, processes * (micro_batch or 1)
        if parts > 1 and METHODS.get(variant.config.method).train and rollouts % parts:
            place = base.locate(found[variant.name], ("train", "prompts_per_step"))
            told = f"{processes} processes" if processes > 1 else "1 process"
            among = told + (f" in micro-batches of {micro_batch}" if micro_batch else "")
            rule = (
                f"variant {variant.name!r}: backbone {variant.config.backbone!r} is trained by {told}, "
                f"and {rollouts} rollouts a step do not divide among {among}"
            )
            way_out = f"set prompts_per_step × group_size to a multiple of {parts}"
            yield StudyError(place, "train.prompts_per_step", train.prompts_per_step, rule, way_out)


def duplicates(groups: Mapping[str, Sequence[Variant]], found: Mapping[str, Draft]) -> Iterator[StudyError]:
    """Yield an error for variants that are one trial.

    Args:
        groups: Variants by the digest of their identity.
        found: Drafts by name, for their places.
    """
    for group in groups.values():
        if len(group) > 1:
            names = [variant.name for variant in group]
            told = " and ".join(repr(name) for name in names)
            rule = f"variants {told} are the same trial: {_why(group)}"
            place = found[names[-1]].source.place()
            yield StudyError(place, names[-1], names, rule, "keep one of them (remove or exclude the others)")


def _why(group: Sequence[Variant]) -> str:
    """Say why variants coincide: a key that differs but that their method ignores, or nothing that differs."""
    method = METHODS.get(group[0].config.method)
    keys = dict.fromkeys(key for variant in group for key in variant.overrides)
    differing = [key for key in keys if len({repr(variant.overrides.get(key)) for variant in group}) > 1]
    ignored = [key for key in differing if not method.heeds(key)]
    if ignored:
        told = ", ".join(map(repr, ignored))
        used = ", ".join(sorted(method.uses)) or "none of the sections that methods differ in"
        return f"{told} does not matter to method {method.name!r}, which uses {used}"
    return "all that decides the result is equal"
