"""The answer in sentences, by a stated rule.

Rule. Variants other than the baseline and the start are compared to the baseline on the study's primary metric, by
the mean paired difference over shared seeds × problems; p values are Holm-adjusted over these variants. Adjusted
p < 0.05 and better: "beats"; adjusted p < 0.05 and worse: "is worse"; anything else: no difference beyond noise. With
one shared seed nothing is said to beat anything: the noise of seeds is unknown. No number stands without its interval,
its n and its cost.

A difference that is not beyond noise is no proof of equality. Where the study could not have seen what it looks for,
the first sentence says so and gives the command that would: where a difference of shares has to be larger than
`power.TARGET` to be seen, or one of other numbers would be seen with at most `MOST_SEEDS` seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capo_bench.analysis.cautions import list_sharpening_cautions, list_training_cautions
from capo_bench.analysis.collect import collect
from capo_bench.analysis.measures import find_task, format_number, is_better, measure, name_unit
from capo_bench.analysis.power import TARGET, Power
from capo_bench.analysis.stats import MeanEstimate
from capo_bench.analysis.summary import Cell, Summary, VariantRow, summarise

if TYPE_CHECKING:
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Plan

FEW_SEEDS = 5
"""Below this many seeds an interval rests on very few degrees of freedom and sees only large differences (measured:
docs/statistics.md), and the report says so."""


MOST_SEEDS = 30
"""A study of more seeds than this is not in reach: what would take more is not called a want of seeds."""


@dataclass(frozen=True)
class Answer:
    """Sentences, the most important first.

    Attributes:
        details: What else is to be said of the comparison that the headline is about: cost, power, sharpening.
        comparisons: One a variant that the headline does not speak of.
        sharpening: Whether what each variant gained over the start is only sharpening, and why.
    """

    headline: str
    details: tuple[str, ...] = ()
    comparisons: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    sharpening: tuple[str, ...] = ()


def answer(summary: Summary) -> Answer:
    """Put a study's result into words."""
    if not summary.finished:
        return Answer(f"No answer yet: none of the {summary.planned} trials of this study has finished.")
    if summary.plan.looks and not summary.looks_complete:
        first = f"the first look, at {summary.plan.looks[0]} seeds of every variant"
        return Answer(f"No answer yet: {first}, is not complete.", cautions=_list_cautions(summary))
    headline, details, comparisons = _compare(summary)
    judged = summary.sharpening.items()
    sharpening = tuple(f"{variant}: {verdict.verdict}; {verdict.reason}." for variant, verdict in judged)
    return Answer(headline, details, comparisons, _list_cautions(summary), sharpening)


def build_tracked_answer(plan: Plan, home: Home) -> tuple[str, dict[str, float]]:
    """Return the answer as tracking keeps it: in words, and means and differences to the baseline by name."""
    summary = summarise(collect(plan, home, digests=home.digests))
    if not summary.finished:
        return "", {}
    values: dict[str, float] = {}
    for row in summary.rows:
        for metric in summary.plan.metrics:
            cell = row.cells.get(metric)
            if cell is None or not cell.value.has_interval:
                continue
            values[f"means/{metric}/{row.variant}"] = cell.value.mean
            if cell.versus is not None:
                at = f"differences/{metric}/{row.variant}"
                values |= {at: cell.versus.mean, f"{at} low": cell.versus.low, f"{at} high": cell.versus.high}
    return answer(summary).headline, values


def format_n(n: MeanEstimate) -> str:
    """Return n as a reader needs it: seeds × problems."""
    seeds = "1 seed" if n.seeds == 1 else f"{n.seeds} seeds"
    return seeds if n.problems == 1 else f"{seeds} × {n.problems} problems"


def format_change(metric: str, estimate: MeanEstimate, holm: float | None = None) -> str:
    """Return ``+12.3 points (95 % interval +8.1 to +16.4, Holm p < 0.001, n = 3 seeds × 256 problems)``."""
    mean, low, high = (format_number(metric, x, sign=True) for x in (estimate.mean, estimate.low, estimate.high))
    p = "" if holm is None else f"Holm {format_p(holm)}, "
    return f"{mean}{name_unit(metric, difference=True)} (95 % interval {low} to {high}, {p}n = {format_n(estimate)})"


def format_level(metric: str, estimate: MeanEstimate) -> str:
    """Return ``73.1 % (95 % interval 70.2 to 76.0, n = 3 seeds × 256 problems)``."""
    mean, low, high = (format_number(metric, x) for x in (estimate.mean, estimate.low, estimate.high))
    return f"{mean}{name_unit(metric)} (95 % interval {low} to {high}, n = {format_n(estimate)})"


def format_p(p: float) -> str:
    """Return ``p = 0.012`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def price(row: VariantRow, baseline: str) -> str:
    """Return what training the variant costs, against the baseline; wall time depends on what else a machine does."""
    parts = [
        f"{row.relative[name]:.2f}× the {label}"
        for name, label in (("train_cpu_seconds", "process time"), ("policy_tokens", "policy tokens"))
        if name in row.relative
    ]
    judged = [
        f"{tokens:,.0f} {label} a trial"
        for name, label in (("critic_tokens", "critic tokens"), ("value_tokens", "tokens of continuations"))
        if (tokens := row.cost.get(name, 0.0))
    ]
    judgment = " and ".join(judged) or "no critic tokens"
    return f"{' and '.join(parts)} of {baseline}, and {judgment}" if parts else judgment


def _compare(summary: Summary) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the headline, its details, and a sentence for each other variant."""
    metric = summary.primary
    compared = [(row, cell) for row, cell in summary.cells(metric) if cell.versus is not None]
    if not compared:
        return _say_nothing_to_compare(summary), (), ()
    ranked = sorted(compared, key=lambda pair: _rank(metric, pair[1]), reverse=True)
    best, cell = ranked[0]
    details = [f"Its cost: {price(best, find_opponent(summary, best))}.", _describe_looks(summary, ranked)]
    if not cell.beyond_noise:
        details += [_describe_power(metric, cell)]
    if _say_beats(metric, cell):
        details += [_describe_gain_over_start(summary, best)]
    rest = tuple(_write_sentence(metric, row, c, find_opponent(summary, row)) for row, c in ranked[1:])
    return _write_headline(summary, ranked), tuple(line for line in details if line), rest


def _write_headline(summary: Summary, ranked: Sequence[tuple[VariantRow, Cell]]) -> str:
    metric, (best, cell) = summary.primary, ranked[0]
    assert cell.versus is not None
    base, gap = find_opponent(summary, best), format_change(metric, cell.versus, cell.holm)
    if _say_beats(metric, cell):
        at = f", decided at look {_look(summary, best)} of {len(summary.plan.looks)}" if summary.plan.looks else ""
        return f"{best.variant} beats {base} on {metric} by {gap}{at}."
    if _has_one_seed(cell):
        more = f"{FEW_SEEDS} seeds would tell: `{_write_command(summary, f'seeds={FEW_SEEDS}')}`"
        where = f"{best.variant} is {_place(metric, cell)} {base} on {metric}, {gap}"
        return f"One seed decides nothing, as seed noise is unknown: {where}; {more}."
    if not any(other.beyond_noise for _, other in ranked) and (way := _suggest_way_to_see(summary, cell)):
        nobody = f"no variant beats {summary.reference} on {metric}"
        return f"Too few seeds or problems to tell: {nobody}, nearest is {best.variant}, {gap}; {way}."
    nearest = "equal" if _is_tied(metric, cell) else "nearest"
    return f"{_say_nobody_beats(summary, ranked)}; {nearest} is {best.variant}, {gap}."


def _look(summary: Summary, row: VariantRow) -> int:
    """Return which look was the latest at a variant, from 1 on."""
    return sum(count <= len(row.seeds) for count in summary.plan.looks)


def _describe_looks(summary: Summary, compared: Sequence[tuple[VariantRow, Cell]]) -> str:
    """Say at which look each variant was decided, and what becomes of the others; empty where seeds are fixed."""
    if not summary.plan.looks:
        return ""
    taken, planned = summary.looks_complete, len(summary.plan.looks)
    decided = [(row.variant, _look(summary, row)) for row, cell in compared if cell.beyond_noise]
    undecided = ", ".join(row.variant for row, cell in compared if not cell.beyond_noise)
    parts = []
    for look in sorted({at for _, at in decided}):
        names = ", ".join(name for name, at in decided if at == look)
        parts.append(f"look {look} ({summary.plan.looks[look - 1]} seeds) decided {names}")
    if undecided and taken < planned:
        parts.append(f"not decided yet, and to get {summary.plan.looks[taken]} seeds: {undecided}")
    elif undecided:
        parts.append(f"not decided by the last: {undecided}")
    return f"Looks taken: {taken} of {planned}; {'; '.join(parts)}."


def _suggest_way_to_see(summary: Summary, cell: Cell) -> str:
    """Return what a study that could not have seen what it looks for would need; empty where it could."""
    metric, power = summary.primary, cell.power
    if power is None or summary.looks_complete < len(summary.plan.looks):
        return ""
    share = measure(metric).share
    if power.detectable <= TARGET if share else power.seeds > MOST_SEEDS:
        return ""
    smallest, aim = (
        f"{format_number(metric, x)}{name_unit(metric, difference=True)}" for x in (power.detectable, TARGET)
    )
    seen = "nothing" if share and power.detectable > 1 else f"only differences from {smallest} on"
    seeds, problems = (power.target_seeds, power.target_problems) if share else (power.seeds, power.problems)
    goal = aim if share else "the observed difference"
    if seeds <= MOST_SEEDS:
        # Seeds that are added after the last look would be looks that no level knows of.
        how = (
            "if planned from the first" if summary.plan.looks else f"`{_write_command(summary, f'seeds={seeds:.0f}')}`"
        )
        way = f"{seeds:,.0f} seeds would show {goal}: {how}"
    elif math.isfinite(problems):
        more = f"evaluation.problems={problems:.0f}"
        way = f"{problems:,.0f} problems would show {goal}: `{_write_command(summary, more)}`"
    else:
        way = f"neither {MOST_SEEDS} seeds nor more problems alone would show {goal}"
    return f"{seen} would have been seen, and {way}"


def _write_command(summary: Summary, setting: str) -> str:
    profile = "" if summary.plan.profile == "quick" else f" --profile {summary.plan.profile}"
    return f"capo-bench run {summary.plan.study}{profile} --set {setting}"


def _is_tied(metric: str, cell: Cell) -> bool:
    """Whether the difference to the baseline is 0 as it is shown."""
    return cell.versus is not None and format_number(metric, cell.versus.mean) == format_number(metric, 0.0)


def _place(metric: str, cell: Cell) -> str:
    assert cell.versus is not None
    if _is_tied(metric, cell):
        return "equal to"
    return {True: "ahead of", False: "behind", None: "apart from"}[is_better(metric, cell.versus.mean)]


def _describe_gain_over_start(summary: Summary, row: VariantRow) -> str:
    """Return what the headline says of a gain over the start."""
    judged = summary.sharpening.get(row.variant)
    if judged is None:
        return ""
    if judged.verdict == "cannot be told":
        return f"Whether its gain over {row.start} is only sharpening cannot be told: {judged.reason}."
    return f"Its gain over {row.start} is {judged.verdict}: {judged.reason}."


def _say_nobody_beats(summary: Summary, compared: Sequence[tuple[VariantRow, Cell]]) -> str:
    """Say that no variant beats the baseline, and which of them are behind it beyond noise."""
    metric = summary.primary
    apart = [row.variant for row, cell in compared if cell.beyond_noise and not _has_one_seed(cell)]
    if not apart:
        return f"No difference beyond noise: no variant beats {summary.reference} on {metric}"
    how = "different" if is_better(metric, 1.0) is None else "worse"
    verb = "is" if len(apart) == 1 else "are"
    return f"Beyond noise, no variant beats {summary.reference} on {metric}, and {', '.join(apart)} {verb} {how}"


def find_opponent(summary: Summary, row: VariantRow) -> str:
    """Return the name of the variant that a variant is compared with."""
    return row.baseline or summary.plan.baseline


def _rank(metric: str, cell: Cell) -> tuple[bool, float]:
    assert cell.versus is not None
    mean = cell.versus.mean
    return _say_beats(metric, cell), -mean if is_better(metric, 1.0) is False else mean


def _has_one_seed(cell: Cell) -> bool:
    return cell.versus is not None and cell.versus.one_seed


def _say_beats(metric: str, cell: Cell) -> bool:
    assert cell.versus is not None
    better = is_better(metric, cell.versus.mean)
    return cell.beyond_noise and not _has_one_seed(cell) and better is True


def _write_sentence(metric: str, row: VariantRow, cell: Cell, baseline: str) -> str:
    assert cell.versus is not None
    gap = f"{format_change(metric, cell.versus, cell.holm)}, at a cost of {price(row, baseline)}"
    if _has_one_seed(cell):
        return f"{row.variant}: {gap}; one seed, so seed noise is unknown."
    if not cell.beyond_noise:
        how = f"equal to {baseline}" if _is_tied(metric, cell) else f"no difference to {baseline} beyond noise"
        return f"{row.variant}: {how}, {gap}."
    better = is_better(metric, cell.versus.mean)
    verb = {True: "also beats", False: "is worse than", None: "differs from"}[better]
    return f"{row.variant} {verb} {baseline} by {gap}."


def _describe_power(metric: str, cell: Cell) -> str:
    """Return what the comparison could have seen, as sentences that follow the one on the difference."""
    if cell.power is None:
        return ""
    limit = f"{format_number(metric, cell.power.detectable)}{name_unit(metric, difference=True)}"
    seen = f"a difference of {limit} would have been detected with 80 % power"
    if measure(metric).share and cell.power.detectable > 1:
        seen = "no possible difference would have been detected with 80 % power"
    if cell.power.seeds <= MOST_SEEDS:
        return f"Too few seeds to tell: {seen}; {cell.power.seeds:,.0f} seeds would be needed for the observed one."
    return f"{seen[0].upper()}{seen[1:]}; {_describe_needed(cell.power)}."


def _describe_needed(power: Power) -> str:
    if math.isfinite(power.seeds):
        return f"{power.seeds:,.0f} seeds would be needed for the observed one"
    no_seeds = "no number of seeds would do for the observed one on so few problems"
    if math.isfinite(power.problems):
        return f"{no_seeds}, but {power.problems:,.0f} problems with these seeds"
    return f"{no_seeds}, nor would more problems with these seeds"


def _say_nothing_to_compare(summary: Summary) -> str:
    row = summary.row(summary.plan.baseline)
    if row is None or not row.seeds:
        return f"No comparison yet: the baseline {summary.plan.baseline} has no finished trial."
    if summary.primary not in row.cells:
        return f"No comparison: no finished trial of {summary.plan.baseline} measured {summary.primary}."
    return f"No comparison yet: no other variant shares a finished seed with the baseline {summary.plan.baseline}."


def _list_cautions(summary: Summary) -> tuple[str, ...]:
    cautions = [*list_training_cautions(summary), *list_sharpening_cautions(summary)]
    if summary.missing:
        cautions.append(f"Partly finished: {len(summary.missing)} of {summary.planned} trials are missing.")
    left_out = [row.variant for row in summary.rows if not row.planned]
    if left_out:
        cautions.append(f"Only a part of the study was picked; left out: {', '.join(left_out)}.")
    cautions += _warn_of_seeds(summary)
    cautions += [text for row in summary.rows if (text := _warn_of_length(summary, row))]
    short = [f"{row.variant} ({row.unspent} of {len(row.seeds)} trials)" for row in summary.rows if row.unspent]
    if short:
        cautions.append(f"Not compute-matched: {', '.join(short)} took all of train.steps before the budget was spent.")
    failed = {row.variant: row.failed_critiques for row in summary.rows if row.failed_critiques > 0}
    unscored = {row.variant: row.unscored for row in summary.rows if row.unscored > 0}
    if failed:
        cautions.append(f"Critiques that abstained and gave no signal: {_list_shares(failed)}.")
    if unscored:
        cautions.append(
            f"Samples of a task, at most, that were not scored and are left out: {_list_shares(unscored)}. "
            "If all of them are wrong, accuracies are lower by at most these shares (`known_right` has them so)."
        )
    return tuple(cautions)


def _list_shares(shares: dict[str, float]) -> str:
    return "; ".join(f"{variant} {100 * share:.1f} %" for variant, share in shares.items())


def _warn_of_seeds(summary: Summary) -> list[str]:
    fewest = min(
        (len(row.seeds) for row in summary.rows if row.seeds and summary.roles.get(row.variant) != "start"), default=0
    )
    if fewest == 1:
        return ["One seed: seed noise unknown. Its intervals cover the draw of problems only."]
    if 1 < fewest < FEW_SEEDS:
        return [
            f"Few seeds: some results rest on {fewest}, so their intervals are wide and only large differences can be "
            f"told from noise; {FEW_SEEDS} seeds see much smaller ones."
        ]
    return []


def _warn_of_length(summary: Summary, row: VariantRow) -> str:
    metric = f"{find_task(summary.primary)}/steps"
    cell = row.cells.get(metric)
    if cell is None or cell.versus is None or not cell.beyond_noise:
        return ""
    fewer = cell.versus.mean < 0
    hint = "; a policy can lower its step penalty by writing less" if fewer else ""
    return (
        f"{row.variant} writes {'fewer' if fewer else 'more'} steps per response than {find_opponent(summary, row)}: "
        f"{format_change(metric, cell.versus, cell.holm)}{hint}."
    )
