"""What a survey of credit assignment asks of every paper, answered from a study.

The items are those of the reporting checklist of "From Reasoning to Agentic: Credit Assignment in Reinforcement
Learning for Large Language Models" (arXiv 2604.09459, versions of April 2026, Appendix C, Table 11), in the words in
which public text quotes them; later versions of the survey may ask otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from capo_bench.analysis.collect import Results
from capo_bench.analysis.measures import find_task, label
from capo_bench.analysis.summary import Summary, VariantRow
from evals.tasks.named import find_benchmark
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.methods import METHODS

CONTROL_METHODS, CONTROL_CRITICS = {"outcome_only", "spread"}, {"random", "shuffled"}
"""What takes CAPO's steps away and leaves the rest."""

OPEN = "open"
"""The answer to an item that nothing in a study's results answers."""


def build_checklist(summary: Summary, results: Results) -> list[tuple[str, str, str]]:
    """Return every item in the survey's words, ``required`` or ``recommended``, and its answer from this study."""
    return [
        (item, "required" if required else "recommended", answer(summary, results) or OPEN)
        for item, required, answer in _ITEMS
    ]


def _describe_models(summary: Summary, results: Results) -> str:
    names = dict.fromkeys(config.backbone for config in _list_configs(results))
    return "; ".join(map(_describe_model, names))


def _describe_model(name: str) -> str:
    backbone = BACKBONES.load(name)
    if backbone.source == "embedded":
        return f"{name}, embedded, width {backbone.width}, {backbone.layers} layers"
    size = f", {backbone.planned.parameters / 1e9:.2f} billion parameters" if backbone.planned else ""
    return f"{name}: {backbone.model}, revision {backbone.revision or 'not named'}{size}"


def _describe_training_data(summary: Summary, results: Results) -> str:
    sets = dict.fromkeys(
        f"{find_benchmark(config.benchmark).name}, {config.train.prompts_per_step} problems in each of at most "
        f"{config.train.steps} steps"
        for config in _list_trained(results)
    )
    return "; ".join([*sets, "filtering: open"]) if sets else "nothing is trained by reinforcement"


def _name_granularity(method: str) -> str:
    return "step" if _has_step_credit(method) else "response"


def _name_family(method: str) -> str:
    uses = METHODS.get(method).uses
    if "critic" in uses:
        return "model-based (LLM as critic)"
    if "prm" in uses:
        return "model-based (process reward model)"
    return "Monte Carlo" if _has_step_credit(method) else "Monte Carlo, whole episodes"


def _describe_episode_baseline(summary: Summary, results: Results) -> str:
    trained = [variant for variant in results.plan.variants if METHODS.get(variant.config.method).train]
    plain = [variant for variant in trained if not _has_step_credit(variant.config.method)]
    models = {config.backbone for config in _list_trained(results)}
    same = "the same model for all" if len(models) == 1 else f"{len(models)} models in the study"
    return f"{', '.join(variant.name for variant in plain)}; {same}" if plain else ""


def _compute(summary: Summary, results: Results) -> str:
    budgets = {config.train.budget for config in _list_trained(results)}
    if len(budgets) == 1 and (budget := budgets.pop()) is not None:
        return f"the same budget for all: {budget.limit:,.0f} {budget.unit.replace('_', ' ')}"
    for name, what in (("train_flops", "FLOPs"), ("train_cpu_seconds", "process seconds")):
        times = [row.relative[name] for row in _list_compared(summary) if name in row.relative]
        if times:
            return f"compared: {_format_span(times, '{:.2f}')} times the {what} of {summary.reference}"
    return ""


def _describe_ablation(summary: Summary, results: Results) -> str:
    return ", ".join(
        variant.name
        for variant in results.plan.variants
        if variant.config.method in CONTROL_METHODS
        or ("critic" in METHODS.get(variant.config.method).uses and variant.config.critic.name in CONTROL_CRITICS)
    )


def _describe_benchmarks(summary: Summary, results: Results) -> str:
    sizes = {find_task(metric): cell.value.problems for row in summary.rows for metric, cell in row.cells.items()}
    tasks = dict.fromkeys(map(find_task, summary.plan.metrics))
    return ", ".join(f"{task} ({sizes.get(task, 0):,} problems)" for task in tasks)


def _describe_metric(summary: Summary, results: Results) -> str:
    return f"{summary.primary}: {label(summary.primary)}; all are defined in docs/study-file.md, section Metrics"


def _describe_variance(summary: Summary, results: Results) -> str:
    seeds = [len(row.seeds) for row in summary.rows if row.seeds]
    return f"95 % intervals over seeds and problems, {_format_span(seeds, '{:,.0f}')} seeds"


def _describe_gpu_hours(summary: Summary, results: Results) -> str:
    runs = results.all_runs()
    gpu = sum(
        run.cost.get("train_seconds", 0.0) * BACKBONES.load(run.trial.config.backbone).gpus
        for run in runs
        if run.provenance.get("hardware", {}).get("gpus")
    )
    if gpu:
        return f"{gpu / 3600:,.1f}, critics apart"
    return f"0; {sum(run.cost.get('train_cpu_seconds', 0.0) for run in runs) / 3600:,.1f} processor hours"


def _describe_overhead(summary: Summary, results: Results) -> str:
    asked = [row for row in summary.rows if row.cost.get("critiques") and row.cost.get("policy_tokens")]
    if not asked:
        return "no critic is asked"
    calls = [row.cost["critiques"] for row in asked]
    tokens = [row.cost["critic_tokens"] / row.cost["policy_tokens"] for row in asked]
    critiques, share = _format_span(calls, "{:,.0f}"), _format_span(tokens, "{:.2f}")
    return f"{critiques} critiques a trial; {share} critic tokens a policy token"


def _describe_mean_length(summary: Summary, results: Results) -> str:
    metric = f"{find_task(summary.primary)}/tokens"
    lengths = [cell.value.mean for _, cell in summary.cells(metric)]
    return f"{_format_span(lengths, '{:.1f}')} tokens, {find_task(metric)}, greedy" if lengths else ""


def _group_by_method(of: Callable[[str], str]) -> Callable[[Summary, Results], str]:
    """Return an item's answer: each property that `of` gives a trained method, with the methods that have it."""

    def describe(summary: Summary, results: Results) -> str:
        methods: dict[str, dict[str, None]] = {}
        for config in _list_trained(results):
            methods.setdefault(of(config.method), {})[config.method] = None
        return "; ".join(f"{value}: {', '.join(names)}" for value, names in methods.items())

    return describe


_ITEMS: tuple[tuple[str, bool, Callable[[Summary, Results], str]], ...] = (
    ("Base model name, size, and version", True, _describe_models),
    ("Training data: source, size, and any filtering applied", True, _describe_training_data),
    (
        "Credit granularity (token / segment / step / turn / multi-agent)",
        True,
        _group_by_method(_name_granularity),
    ),
    ("Methodology family per our taxonomy", True, _group_by_method(_name_family)),
    ("At least one episode-level baseline (GRPO or PPO) with identical base model", True, _describe_episode_baseline),
    ("Baseline training recipe: same compute budget or explicit compute comparison", True, _compute),
    ("CA-component ablation isolating the contribution", False, _describe_ablation),
    ("Benchmark names and specific splits", True, _describe_benchmarks),
    ("Evaluation metric with exact definition", True, _describe_metric),
    ("Variance estimates (std across ≥3 seeds, or confidence intervals)", False, _describe_variance),
    ("Total GPU-hours for training", True, _describe_gpu_hours),
    ("CA-specific overhead: additional forward passes, environment resets, or LLM calls", False, _describe_overhead),
    ("Average trajectory length (tokens for reasoning, turns for agentic)", True, _describe_mean_length),
    ("Trajectory length distribution (min, median, max)", False, lambda summary, results: OPEN),
)


def _format_span(values: Sequence[float], form: str) -> str:
    """Return the lowest and the highest value, or the one that all are."""
    ends = dict.fromkeys(form.format(value) for value in (min(values), max(values)))
    return " to ".join(ends)


def _list_configs(results: Results) -> Iterator[TrialConfig]:
    return (variant.config for variant in results.plan.variants)


def _list_trained(results: Results) -> list[TrialConfig]:
    return [config for config in _list_configs(results) if METHODS.get(config.method).train]


def _list_compared(summary: Summary) -> list[VariantRow]:
    return [row for row, cell in summary.cells(summary.primary) if cell.versus is not None]


def _has_step_credit(method: str) -> bool:
    return METHODS.get(method).credit is not None and method != "outcome_only"
