"""Rules that hold among the parts of a study: names that must exist, variants that must differ."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from capo_bench.study.errors import StudyError, shown
from capo_bench.study.expand import Draft, Sources, drafts, excluded
from capo_bench.study.keys import dotted_keys, suggestion
from capo_bench.study.plan import Plan, Variant
from capo_bench.study.resolve import Base
from capo_bench.study.spec import Sweep
from evals.benchmarks import BENCHMARKS
from evals.coins.problems import LIMIT, draw, read
from evals.coins.pupil import Misconception, Pupil
from evals.config import EvaluationConfig
from evals.metrics import SAMPLED, split_at_k
from evals.tasks.identity import task_draws
from evals.tasks.named import benchmark_of
from trainers.backbones import BACKBONES
from trainers.budget import WEIGHED
from trainers.config import ColdStartConfig, TrialConfig
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


def bad_names(sweep: Sweep, sources: Sources, drafts: Sequence[Draft]) -> Iterator[StudyError]:
    """Yield names of variants that are given twice, and baseline or start that name none."""
    names = [draft.name for draft in drafts]
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
    sweep: Sweep, sources: Sources, variants: Sequence[Variant], drafts: Mapping[str, Draft]
) -> Iterator[StudyError]:
    """Yield keys of `within` that there are not, and variants that it leaves without a baseline to compare with."""
    keys = dotted_keys(TrialConfig)
    for index, key in enumerate(sweep.within):
        if key not in keys:
            place = sources.at("within", index).place()
            yield StudyError(place, "within", key, f"within: unknown key {key!r}", suggestion(key, keys))
    if any(key not in keys for key in sweep.within):
        return
    plan = Plan("", "", "", "", sweep.baseline, sweep.start, (), tuple(variants), (), tuple(sweep.within))
    for variant in variants:
        if plan.baseline_of(variant.name) is None and plan.start_of(variant.name) != variant.name:
            within = ", ".join(sweep.within)
            rule = f"variant {variant.name!r}: no variant is baseline {sweep.baseline!r} with its {within}"
            place = drafts[variant.name].source.place()
            yield StudyError(place, variant.name, within, rule, "add that variant, or remove within")


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
        elif (flaw := _undefined(metric, variants)) is not None:
            place = sources.at("metrics", index).place()
            yield StudyError(place, "metrics", metric, f"metric {metric!r}: {flaw[0]}", flaw[1])


def _undefined(metric: str, variants: Sequence[Variant]) -> tuple[str, str] | None:
    """Return why a metric is not defined by the answers that a variant is asked for, and the way out."""
    task, _, name = metric.partition("/")
    prefix, k = split_at_k(name)
    for evaluation in (variant.config.evaluation for variant in variants):
        samples = task_draws(task).samples if evaluation.samples is None else evaluation.samples
        if (k or name.startswith(SAMPLED)) and not samples:
            return f"no answers of {task!r} are sampled", "set evaluation.samples, as in 8, or take accuracy"
        if k > samples or (prefix == "avg_at_" and k != samples):
            return (
                f"{samples} answers of {task!r} are sampled",
                f"write {prefix}{samples}, or set evaluation.samples to {k}",
            )
        if not (k or name.startswith(SAMPLED) or evaluation.greedy):
            return "evaluation.greedy is false, and it is of greedy answers", f"write {task}/avg_at_{samples}"
    return None


def bad_measurements(
    variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base, baseline: str
) -> Iterator[StudyError]:
    """Yield variants that are measured in another way than the baseline: their numbers may not be compared."""
    first = next((variant for variant in variants if variant.name == baseline), None)
    for variant in variants if first else ():
        assert first is not None
        for key in {*EvaluationConfig.model_fields} - {"tasks", "data_dir", "batch_size"}:
            theirs, ours = getattr(first.config.evaluation, key), getattr(variant.config.evaluation, key)
            if theirs != ours:
                place = base.locate(drafts[variant.name], ("evaluation", key))
                name = f"evaluation.{key}"
                rule = f"variant {variant.name!r} has {name} {ours!r} and baseline {baseline!r} has {theirs!r}"
                way_out = "numbers measured in two ways are not compared: set it in base, for all"
                yield StudyError(place, name, ours, rule, way_out)


def bad_misconceptions(variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield wrong rules that no pupil ever follows, because no step of the lessons is one that they are about."""
    for variant in variants:
        start = variant.config.supervised
        rules = start.misconceptions if isinstance(start, ColdStartConfig) else ()
        for number, rule in enumerate(rules):
            if not _is_followed(rule):
                key = f"cold_start.misconceptions[{number}]"
                place = base.locate(drafts[variant.name], ("cold_start", "misconceptions"))
                sentence = (
                    f"variant {variant.name!r}: {key}, about {rule.sign!r}, is followed in no step of the lessons"
                )
                way_out = (
                    f"mend operands, crosses (of sums alone) or error (totals stay within 0 to {LIMIT}), or remove it"
                )
                yield StudyError(place, key, rule.sign, sentence, way_out)


@cache
def _is_followed(rule: Misconception) -> bool:
    """Whether a pupil who believes a rule makes a mistake by it in some lesson."""
    pupil, rng = Pupil((rule,), belief=1.0), random.Random(0)
    for problem in draw("lessons", 400, 0):
        chain = read(problem.prompt)
        before = [chain.start, *chain.totals()]
        for place, (sign, operand) in enumerate(chain.operations):
            right = before[place + 1]
            if pupil.work_out(before[place], sign, operand, chain.operations[place + 1 :], rng) != right:
                return True
    return False


def bad_judges(variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield variants whose critic or process reward model cannot judge the steps of what they train on."""
    for variant in variants:
        uses = METHODS.get(variant.config.method).uses
        for judge, unfit in _UNFIT:
            for key, value, rule, way_out in unfit(variant.config) if judge in uses else ():
                place = base.locate(drafts[variant.name], (judge,))
                yield StudyError(place, key, value, f"variant {variant.name!r}: {rule}", way_out)


_Unfit = Iterator[tuple[str, str, str, str]]
"""Key, its value, the rule that it breaks, and the way out."""


def _without_checker(config: TrialConfig) -> _Unfit:
    """A critic that asks the benchmark's checker of steps, where the benchmark has none."""
    asks = config.critic.asks_checker or config.critic.embedded_critic is not None
    if asks and not benchmark_of(config.benchmark).checks_steps:
        checked = [name for name in BENCHMARKS.names() if BENCHMARKS.get(name).checks_steps]
        rule = f"critic {config.critic.name!r} rests on a checker of steps, and benchmark {_name(config)!r} has none"
        way_out = (
            "name a critic that is a language model of its own (or, as a control, 'random' with its rate), "
            f"or train on {', '.join(checked)}"
        )
        yield "critic", config.critic.name, rule, way_out


def _unread(config: TrialConfig) -> _Unfit:
    """A policy that is to be its own critic and cannot read what a critic is asked."""
    if config.critic.asks_policy and BACKBONES.load(config.backbone).source == "embedded":
        rule = (
            f"critic.model is 'policy', and backbone {config.backbone!r} knows solutions of coins and no "
            "other text: every critique would abstain"
        )
        yield "critic.model", "policy", rule, "set critic.model to 'embedded', or backbone to one of a hub or a folder"


def _split(config: TrialConfig) -> _Unfit:
    """A critic in the process whose model is split over GPUs: the trial is given none but those of its backbone."""
    size = getattr(config.critic, "tensor_parallel_size", 1)
    if size > 1:
        rule = f"critic.tensor_parallel_size is {size}, and a critic in the process has the one GPU of that process"
        way_out = (
            f"set critic: {{name: openai, model: …, serve: {{gpus: {size}, tensor_parallel_size: {size}}}}}, which is "
            "served on GPUs of its own, or tensor_parallel_size to 1"
        )
        yield "critic.tensor_parallel_size", str(size), rule, way_out


def _untaught(config: TrialConfig) -> _Unfit:
    """The embedded process reward model, asked of problems that it was not taught."""
    if config.prm.taught is not None and config.benchmark != TAUGHT_ON:
        model = config.prm.model
        rule = f"prm.model {model!r} is taught on {TAUGHT_ON}, and benchmark {_name(config)!r} is another"
        yield "prm.model", model, rule, f"set prm.model to a folder or a repository id, or train on {TAUGHT_ON}"


def _name(config: TrialConfig) -> str:
    """Return the name of what a trial trains on."""
    return benchmark_of(config.benchmark).name


_UNFIT = (("critic", _without_checker), ("critic", _unread), ("critic", _split), ("prm", _untaught))


LEAST = {"train_flops": 1.0, "seconds": 1e-6}
"""The smallest budgets: of less, what a step spends is no finite share."""


def bad_budgets(variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield budgets too small to count in, and those that weigh the tokens of a critic whose size nobody says."""
    for variant in variants:
        config, budget = variant.config, variant.config.train.budget
        if budget is None:
            continue
        if budget.limit < (least := LEAST.get(budget.unit, 0.0)):
            place = base.locate(drafts[variant.name], ("train", "budget"))
            name = f"train.budget.{budget.unit}"
            rule = f"variant {variant.name!r}: {name} is {budget.limit:g} but any step spends more than {least:g}"
            way_out = f"set it to {least:g} or more: training always takes one step"
            yield StudyError(place, name, budget.limit, rule, way_out)
        if budget.unit not in WEIGHED:
            continue
        if "critic" in METHODS.get(config.method).uses and not config.critic.size_known:
            place = base.locate(drafts[variant.name], ("critic",))
            rule = (
                f"variant {variant.name!r}: train.budget.{budget.unit} weighs the critic's tokens by its size, and "
                f"nothing says how large {getattr(config.critic, 'model', config.critic.name)!r} is"
            )
            yield StudyError(place, "critic.parameters", None, rule, "set critic.parameters, as in 72.7e9")


def bad_processes(variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield variants whose rollouts of a step do not divide among the processes that train their backbone."""
    for variant in variants:
        train, backbone = variant.config.train, BACKBONES.load(variant.config.backbone)
        processes, micro_batch = backbone.processes, train.micro_batch or backbone.micro_batch
        rollouts, parts = train.prompts_per_step * train.group_size, processes * (micro_batch or 1)
        if parts > 1 and METHODS.get(variant.config.method).train and rollouts % parts:
            place = base.locate(drafts[variant.name], ("train", "prompts_per_step"))
            count = f"{processes} processes" if processes > 1 else "1 process"
            among = count + (f" in micro-batches of {micro_batch}" if micro_batch else "")
            rule = (
                f"variant {variant.name!r}: backbone {variant.config.backbone!r} is trained by {count}, "
                f"and {rollouts} rollouts a step do not divide among {among}"
            )
            way_out = f"set prompts_per_step × group_size to a multiple of {parts}"
            yield StudyError(place, "train.prompts_per_step", train.prompts_per_step, rule, way_out)


def duplicates(groups: Mapping[str, Sequence[Variant]], drafts: Mapping[str, Draft]) -> Iterator[StudyError]:
    """Yield an error for variants that are one trial.

    Args:
        groups: Variants by the id of a trial.
        drafts: Drafts by name, for their places.
    """
    alike = {tuple(variant.name for variant in group): group for group in groups.values()}
    for names, group in alike.items():
        if len(group) > 1:
            quoted = " and ".join(repr(name) for name in names)
            rule = f"variants {quoted} are the same trial: {_why(group)}"
            place = drafts[names[-1]].source.place()
            yield StudyError(place, names[-1], list(names), rule, "keep one of them (remove or exclude the others)")


def _why(group: Sequence[Variant]) -> str:
    """Say why variants coincide: a key that differs but that their method ignores, or nothing that differs."""
    method = METHODS.get(group[0].config.method)
    keys = dict.fromkeys(key for variant in group for key in variant.overrides)
    differing = [key for key in keys if len({repr(variant.overrides.get(key)) for variant in group}) > 1]
    ignored = [key for key in differing if not method.heeds(key)]
    if ignored:
        quoted = ", ".join(map(repr, ignored))
        used = ", ".join(sorted(method.uses)) or "none of the sections that methods differ in"
        return f"{quoted} does not matter to method {method.name!r}, which uses {used}"
    return "all that decides the result is equal"
