"""Check the parts of a study against each other: names must exist, and variants must differ."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from capo_bench.study.data import check_start
from capo_bench.study.errors import StudyError, format_value
from capo_bench.study.expand import Draft, Sources, build_drafts, is_excluded
from capo_bench.study.keys import list_dotted_keys, suggest_key
from capo_bench.study.plan import Plan, Variant
from capo_bench.study.resolve import Base
from capo_bench.study.spec import Sweep
from evals.benchmarks import BENCHMARKS
from evals.coins.problems import LIMIT, draw, read
from evals.coins.pupil import Misconception, Pupil
from evals.config import EvaluationConfig
from evals.metrics import SAMPLED, split_at_k
from evals.tasks.identity import find_task_draws
from evals.tasks.named import find_benchmark
from trainers.backbones import BACKBONES
from trainers.budget import WEIGHED
from trainers.config import ColdStartConfig, TrialConfig
from trainers.methods import METHODS
from trainers.prm.config import TAUGHT_ON


def check_sweep(sweep: Sweep, sources: Sources) -> Iterator[StudyError]:
    """Yield the errors within matrix, zip and exclude."""
    for key in sweep.matrix.keys() & sweep.zip.keys():
        rule = f"key {key!r} is in matrix and in zip; a key is swept in one of them"
        yield StudyError(sources.at("zip", key).place(), rule, "remove it from one of them")
    for key, values in sweep.matrix.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                rule = f"matrix.{key} has {format_value(value)} twice"
                yield StudyError(sources.at("matrix", key, index).place(), rule, "remove one")
    yield from _check_exclude(sweep, sources)


def _check_exclude(sweep: Sweep, sources: Sources) -> Iterator[StudyError]:
    if not sweep.exclude:
        return
    rows = [draft.settings for draft in build_drafts(sweep.model_copy(update={"exclude": [], "include": []}), sources)]
    for index, entry in enumerate(sweep.exclude):
        if not any(is_excluded(row, entry) for row in rows):
            shown = format_value(entry)
            rule = f"exclude entry {shown} removes nothing: no combination of matrix and zip has these values"
            yield StudyError(sources.at("exclude", index).place(), rule, "correct its keys or values, or remove it")
    if all(any(is_excluded(row, entry) for entry in sweep.exclude) for row in rows):
        rule = f"exclude {format_value(sweep.exclude)} removes all {len(rows)} combinations of matrix and zip"
        yield StudyError(sources.at("exclude").place(), rule, "leave at least one")


def check_names(sweep: Sweep, sources: Sources, drafts: Sequence[Draft]) -> Iterator[StudyError]:
    """Yield an error for each duplicate variant name, and if baseline or start is not a variant."""
    names = [draft.name for draft in drafts]
    for index, item in enumerate(sweep.include):
        if names.count(item.name) > 1:
            rule = f"two variants are named {item.name!r}: one of the matrix and one of include"
            yield StudyError(sources.at("include", index, "name").place(), rule, "rename the one in include")
    for role, name in (("baseline", sweep.baseline), ("start", sweep.start)):
        if name is not None and name not in names:
            way_out = suggest_key(name, names).replace("known keys", "variants")
            yield StudyError(sources.at(role).place(), f"{role} {name!r} is not a variant of the study", way_out)


def check_counterparts(
    sweep: Sweep, sources: Sources, variants: Sequence[Variant], drafts: Mapping[str, Draft]
) -> Iterator[StudyError]:
    """Yield an error for each unknown key in `within`, and for each variant that `within` leaves without a baseline."""
    keys = list_dotted_keys(TrialConfig)
    for index, key in enumerate(sweep.within):
        if key not in keys:
            place = sources.at("within", index).place()
            yield StudyError(place, f"within: unknown key {key!r}", suggest_key(key, keys))
    if any(key not in keys for key in sweep.within):
        return
    plan = Plan("", "", "", "", sweep.baseline, sweep.start, (), tuple(variants), (), tuple(sweep.within))
    for variant in variants:
        if plan.baseline_of(variant.name) is None and plan.start_of(variant.name) != variant.name:
            within = ", ".join(sweep.within)
            rule = f"variant {variant.name!r}: no variant is baseline {sweep.baseline!r} with its {within}"
            yield StudyError(drafts[variant.name].source.place(), rule, "add that variant, or remove within")


def check_metrics(sweep: Sweep, sources: Sources, variants: Sequence[Variant]) -> Iterator[StudyError]:
    """Yield an error for each metric of a task that a variant is not evaluated on."""
    for index, metric in enumerate(sweep.metrics):
        task = metric.partition("/")[0]
        lacking = [variant for variant in variants if task not in variant.config.evaluation.tasks]
        if lacking:
            place = sources.at("metrics", index).place()
            rule = f"metric {metric!r}: task {task!r} is not in evaluation.tasks of variant {lacking[0].name!r}"
            hint = suggest_key(task, lacking[0].config.evaluation.tasks).replace("known keys", "tasks")
            yield StudyError(place, rule, hint)
        elif (flaw := _find_undefined(metric, variants)) is not None:
            place = sources.at("metrics", index).place()
            yield StudyError(place, f"metric {metric!r}: {flaw[0]}", flaw[1])


def _find_undefined(metric: str, variants: Sequence[Variant]) -> tuple[str, str] | None:
    """Return why a variant's answers do not define a metric, and the way out; None if they define it."""
    task, _, name = metric.partition("/")
    prefix, k = split_at_k(name)
    for evaluation in (variant.config.evaluation for variant in variants):
        samples = find_task_draws(task).samples if evaluation.samples is None else evaluation.samples
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


def check_measurements(
    variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base, baseline: str
) -> Iterator[StudyError]:
    """Yield an error for each variant that is evaluated in another way than the baseline, and so is not comparable."""
    first = next((variant for variant in variants if variant.name == baseline), None)
    for variant in variants if first else ():
        assert first is not None
        for key in {*EvaluationConfig.model_fields} - {"tasks", "data_dir", "batch_size"}:
            expected, actual = getattr(first.config.evaluation, key), getattr(variant.config.evaluation, key)
            if expected != actual:
                place = base.locate(drafts[variant.name], ("evaluation", key))
                name = f"evaluation.{key}"
                rule = f"variant {variant.name!r} has {name} {actual!r} and baseline {baseline!r} has {expected!r}"
                way_out = "numbers measured in two ways are not compared: set it in base, for all"
                yield StudyError(place, rule, way_out)


def check_settings(variants: Sequence[Variant], drafts: Mapping[str, Draft], base: Base) -> Iterator[StudyError]:
    """Yield an error for each combination of settings of a variant that is not valid."""
    for variant in variants:
        for check in _CHECKS:
            for key, rule, way_out in check(variant.config):
                place = base.locate(drafts[variant.name], tuple(key.split(".")))
                yield StudyError(place, f"variant {variant.name!r}: {rule}", way_out)


_Flaws = Iterator[tuple[str, str, str]]
"""Setting to which the error refers, the broken rule, and the way out."""


def _check_misconceptions(config: TrialConfig) -> _Flaws:
    """Yield misconceptions that apply to no step of the lessons, so no pupil ever follows them."""
    start = config.supervised
    for number, rule in enumerate(start.misconceptions if isinstance(start, ColdStartConfig) else ()):
        if not _is_followed(rule):
            yield (
                "cold_start.misconceptions",
                f"cold_start.misconceptions[{number}], about {rule.sign!r}, is followed in no step of the lessons",
                f"mend operands, crosses (of sums alone) or error (totals stay within 0 to {LIMIT}), or remove it",
            )


@cache
def _is_followed(rule: Misconception) -> bool:
    """Return whether a pupil with this misconception makes a mistake because of it in at least one lesson."""
    pupil, rng = Pupil((rule,), belief=1.0), random.Random(0)
    for problem in draw("lessons", 400, 0):
        chain = read(problem.prompt)
        before = [chain.start, *chain.totals()]
        for place, (sign, operand) in enumerate(chain.operations):
            right = before[place + 1]
            if pupil.work_out(before[place], sign, operand, chain.operations[place + 1 :], rng) != right:
                return True
    return False


def _check_critic(config: TrialConfig) -> _Flaws:
    """Yield errors for a critic that cannot judge the steps of the training problems."""
    critic, trained = config.critic, find_benchmark(config.benchmark)
    if "critic" not in METHODS.get(config.method).uses:
        return
    if (critic.asks_checker or critic.embedded_critic is not None) and not trained.checks_steps:
        checked = [name for name in BENCHMARKS.names() if BENCHMARKS.get(name).checks_steps]
        yield (
            "critic",
            f"critic {critic.name!r} rests on a checker of steps, and benchmark {trained.name!r} has none",
            "name a critic that is a language model of its own (or, as a control, 'random' with its rate), "
            f"or train on {', '.join(checked)}",
        )
    if critic.asks_policy and BACKBONES.load(config.backbone).source == "embedded":
        yield (
            "critic",
            f"critic.model is 'policy', and backbone {config.backbone!r} knows solutions of coins and no other text: "
            "every critique would abstain",
            "set critic.model to 'embedded', or backbone to one of a hub or a folder",
        )
    # A trial gets only the GPUs of its backbone.
    if (split := getattr(critic, "tensor_parallel_size", 1)) > 1:
        yield (
            "critic",
            f"critic.tensor_parallel_size is {split}, and a critic in the process has the one GPU of that process",
            f"set critic: {{name: openai, model: …, serve: {{gpus: {split}, tensor_parallel_size: {split}}}}}, which "
            "is served on GPUs of its own, or tensor_parallel_size to 1",
        )


def _check_prm(config: TrialConfig) -> _Flaws:
    """Yield an error if the embedded process reward model is used on problems that it was not trained on."""
    used = "prm" in METHODS.get(config.method).uses and config.prm.taught is not None
    if used and config.benchmark != TAUGHT_ON:
        name = find_benchmark(config.benchmark).name
        rule = f"prm.model {config.prm.model!r} is taught on {TAUGHT_ON}, and benchmark {name!r} is another"
        yield "prm", rule, f"set prm.model to a folder or a repository id, or train on {TAUGHT_ON}"


LEAST = {"train_flops": 1.0, "seconds": 1e-6}
"""Smallest allowed budgets: below them, the share that a step spends is not finite."""


def _check_budget(config: TrialConfig) -> _Flaws:
    """Yield errors for a budget that is too small, or that weighs the tokens of a critic of unknown size."""
    budget, critic = config.train.budget, config.critic
    if budget is None:
        return
    name = f"train.budget.{budget.unit}"
    if budget.limit < (least := LEAST.get(budget.unit, 0.0)):
        rule = f"{name} is {budget.limit:g} but any step spends more than {least:g}"
        yield "train.budget", rule, f"set it to {least:g} or more: training always takes one step"
    if budget.unit in WEIGHED and "critic" in METHODS.get(config.method).uses and not critic.size_known:
        model = getattr(critic, "model", critic.name)
        rule = f"{name} weighs the critic's tokens by its size, and nothing says how large {model!r} is"
        yield "critic", rule, "set critic.parameters, as in 72.7e9"


def _check_division(config: TrialConfig) -> _Flaws:
    """Yield an error if the rollouts of a step cannot be divided equally among the training processes."""
    train, backbone = config.train, BACKBONES.load(config.backbone)
    processes, micro_batch = backbone.processes, train.micro_batch or backbone.micro_batch
    rollouts, parts = train.prompts_per_step * train.group_size, processes * (micro_batch or 1)
    if parts > 1 and METHODS.get(config.method).train and rollouts % parts:
        count = f"{processes} processes" if processes > 1 else "1 process"
        among = count + (f" in micro-batches of {micro_batch}" if micro_batch else "")
        yield (
            "train.prompts_per_step",
            f"backbone {config.backbone!r} is trained by {count}, and {rollouts} rollouts a step do not divide among "
            f"{among}",
            f"set prompts_per_step × group_size to a multiple of {parts}",
        )


_CHECKS = (check_start, _check_misconceptions, _check_critic, _check_prm, _check_budget, _check_division)


def check_duplicates(groups: Mapping[str, Sequence[Variant]], drafts: Mapping[str, Draft]) -> Iterator[StudyError]:
    """Yield an error for each group of variants that are the same trial; `groups` are variants by trial id."""
    alike = {tuple(variant.name for variant in group): group for group in groups.values()}
    for names, group in alike.items():
        if len(group) > 1:
            quoted = " and ".join(repr(name) for name in names)
            rule = f"variants {quoted} are the same trial: {_explain_duplicates(group)}"
            place = drafts[names[-1]].source.place()
            yield StudyError(place, rule, "keep one of them (remove or exclude the others)")


def _explain_duplicates(group: Sequence[Variant]) -> str:
    """Return why variants coincide: either nothing differs, or only keys that their method ignores."""
    method = METHODS.get(group[0].config.method)
    keys = dict.fromkeys(key for variant in group for key in variant.overrides)
    differing = [key for key in keys if len({repr(variant.overrides.get(key)) for variant in group}) > 1]
    ignored = [key for key in differing if not method.heeds(key)]
    if ignored:
        quoted = ", ".join(map(repr, ignored))
        used = ", ".join(sorted(method.uses)) or "none of the sections that methods differ in"
        return f"{quoted} does not matter to method {method.name!r}, which uses {used}"
    return "all that decides the result is equal"
