"""A replay of other votes: its tables, heat maps, page and files. Equal results give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capo_bench.pages import svg
from capo_bench.pages.critic_tables import percent, share_cell, share_lines
from capo_bench.pages.figure import Figure, draw
from capo_bench.pages.page import Page, Section, html
from capo_bench.pages.table import NOTHING, Table, comma_separated
from capo_bench.revote.rows import RevoteRow
from capo_bench.revote.study import StudyReplay
from capo_bench.store.home import write_json
from evals.files import write_atomic

FIRST_K = (
    "k critiques are the first k that were stored, as a trial with that k would have heard them. `greedy` reads the "
    "first one: of a trial that was not greedy itself it was sampled, not the critic's most likely one."
)
FEWER = (
    "Trials that stored fewer than k critiques are in no row of that k: compare such a row with others of as many "
    "trials."
)
READING = (
    "A replay tells how rewards would have differed on rollouts that were sampled while training with another rule. "
    "It does not tell what a policy trained with that rule would have become."
)


def write_replay(replay: StudyReplay, rows: Sequence[RevoteRow], folder: Path) -> tuple[Path, ...]:
    """Write ``revote.csv``, ``revote.json`` and ``revote.html`` into a folder, and return their paths."""
    paths = folder / "revote.csv", folder / "revote.json", folder / "revote.html"
    flat = [row.flat() for row in rows]
    write_atomic(paths[0], comma_separated(list(flat[0]) if flat else [], [list(row.values()) for row in flat]))
    write_json(paths[1], _whole(replay, flat))
    write_atomic(paths[2], html(replay_page(replay, rows)))
    return paths


def replay_page(replay: StudyReplay, rows: Sequence[RevoteRow]) -> Page:
    """Return the page of a replay."""
    return Page(
        title=f"Other votes: {replay.study}",
        about=f"Profile {replay.profile} · {len(replay.replays)} trials replayed",
        sections=[
            Section("By rule and k", figures=list(heat_maps(rows))),
            Section("Numbers", tables=replay_tables(rows)),
            Section("How to read it", notes(replay)),
        ],
    )


def replay_tables(rows: Sequence[RevoteRow]) -> list[Table]:
    """Return three tables a critic, each of which fits a terminal: what votes say of steps, and what tokens earn."""
    of = [[row for row in rows if row.critic == critic] for critic in _critics(rows)]
    return [table for own in of for table in (_labels(own), _rewards(own), _advantages(own))]


def _labels(rows: Sequence[RevoteRow]) -> Table:
    first = rows[0]
    title = (
        f"Critic {first.critic}: {first.trials} trials, {first.rollouts:,} rollouts, {first.scores.steps:,} checked "
        f"steps of {first.problems:,} problems; % [95 % interval]"
    )
    headings = ("rule", "k", "flagged", "precision", "recall", "F1", "abstained")
    # Labels hang on no weights: the rows of one pair say all of them.
    alike = [row for row in rows if row.setting.weights == first.setting.weights]
    return Table(title, headings, tuple(_lines(alike, rows, _label_cells)))


def _rewards(rows: Sequence[RevoteRow]) -> Table:
    def cells(row: RevoteRow) -> tuple[str, ...]:
        return percent(row.label_agreement), percent(row.reward_changed), _number(row.reward_moved)

    headings = ("as trained", "reward changed", "mean |Δr|")
    return _by_weights("labels and token rewards against those of training", headings, rows, cells)


def _advantages(rows: Sequence[RevoteRow]) -> Table:
    def cells(row: RevoteRow) -> tuple[str, ...]:
        changed, only = percent(row.sign_changed), percent(row.process_only)
        return changed, _number(row.moved), _number(row.correlation_exact), only

    headings = ("sign changed", "mean |Δ|", "corr. exact", "process only")
    return _by_weights("advantages against those of training", headings, rows, cells)


def _by_weights(
    title: str, headings: tuple[str, ...], rows: Sequence[RevoteRow], cells: Callable[[RevoteRow], tuple[str, ...]]
) -> Table:
    pairs = {row.setting.weights.label for row in rows}
    several = len(pairs) > 1
    title = f"Critic {rows[0].critic}: {title}" + ("" if several else f", weights {pairs.pop()}")

    def weighed(row: RevoteRow) -> tuple[str, ...]:
        return (*[row.setting.weights.label] * several, *cells(row))

    columns = ("rule", "k", *["weights"] * several, *headings)
    return Table(f"{title}; shares in %", columns, tuple(_lines(rows, rows, weighed)))


def _lines(
    shown: Sequence[RevoteRow], rows: Sequence[RevoteRow], cells: Callable[[RevoteRow], tuple[str, ...]]
) -> list[tuple[str, ...]]:
    trained = {(row.setting.ballot.vote.label, row.setting.ballot.k) for row in rows if row.trained_with}
    most = max(row.trials for row in rows)
    lines = [(row.setting.ballot.vote.label, row.setting.ballot.k, (_k(row, most), *cells(row))) for row in shown]
    return [(name, *texts) for name, texts in share_lines(lines, trained)]


def _k(row: RevoteRow, most: int) -> str:
    fewer = f" ({row.trials} of {most} trials)" if row.trials < most else ""
    return f"{row.setting.ballot.k}{fewer}"


def _label_cells(row: RevoteRow) -> tuple[str, ...]:
    shares = (row.scores.precision, row.scores.recall, row.scores.f1)
    return (percent(row.flagged_step_rate), *map(share_cell, shares), percent(row.abstained))


def notes(replay: StudyReplay) -> list[str]:
    """Say what a reader must know, and what is in no number."""
    stored = {(trial.config.critic.name, trial.config.credit.critiques) for trial, _ in replay.replays}
    several = len(stored) > len({name for name, _ in stored})
    lines = [FIRST_K, *([FEWER] if several else []), READING]
    lines += [line for _, one in replay.replays for line in one.damaged[:3]]
    lines += [f"Not replayed: {wish}." for wish in replay.unmet]
    reasons: dict[str, list[str]] = {}
    for trial, why in replay.left_out:
        reasons.setdefault(why, []).append(f"{trial.variant} seed {trial.seed}")
    return lines + [f"Left out: {', '.join(names)}: {why}." for why, names in reasons.items()]


def heat_maps(rows: Sequence[RevoteRow]) -> Iterator[Figure]:
    """Yield the heat maps: F1, then correlation with exact advantages and sign changes for each pair of weights."""
    for critic in _critics(rows):
        own = [row for row in rows if row.critic == critic]
        weights = sorted({row.setting.weights for row in own})
        first = [row for row in own if row.setting.weights == weights[0]]
        yield from _map(f"{critic}: F1 of the labels (%)", first, lambda row: row.scores.f1.value, percent)
        for pair in weights:
            these = [row for row in own if row.setting.weights == pair]
            exact = f"{critic}: correlation with the advantages under exact labels, weights {pair.label}"
            changed = f"{critic}: tokens with another sign than trained (%), weights {pair.label}"
            yield from _map(exact, these, lambda row: row.correlation_exact, _number)
            yield from _map(changed, these, lambda row: row.sign_changed, percent)


def _map(
    title: str, rows: Sequence[RevoteRow], value: Callable[[RevoteRow], float | None], shown: Callable[[float], str]
) -> Iterator[Figure]:
    """Yield a heat map of rules by k; none where nothing is known."""
    values = {(row.setting.ballot.vote.label, row.setting.ballot.k): value(row) for row in rows}
    known = {at: v for at, v in values.items() if v is not None and math.isfinite(v)}
    if not known:
        return
    ks, rules = sorted({k for _, k in values}), list(dict.fromkeys(rule for rule, _ in values))
    told = {(rule, k): f"{rule} of {k}: {shown(v)}" for (rule, k), v in known.items()}
    grid = [
        [(known[rule, k], shown(known[rule, k]), told[rule, k]) if (rule, k) in known else None for k in ks]
        for rule in rules
    ]
    drawing = svg.heat(rules, [str(k) for k in ks], grid, "critiques (k)")
    yield draw("votes", title, "; ".join(told.values()), drawing)


def _number(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-", "−") if math.isfinite(value) else NOTHING


def _critics(rows: Sequence[RevoteRow]) -> list[str]:
    return list(dict.fromkeys(row.critic for row in rows))


def _whole(replay: StudyReplay, flat: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "study": replay.study,
        "profile": replay.profile,
        "rows": list(flat),
        "trials": [
            {
                "id": trial.id,
                "variant": trial.variant,
                "seed": trial.seed,
                "steps": one.steps,
                "rollouts": one.rollouts,
                "trained": asdict(one.trained),
                "damaged": one.damaged,
            }
            for trial, one in replay.replays
        ],
        "left_out": [
            {"id": trial.id, "variant": trial.variant, "seed": trial.seed, "why": why} for trial, why in replay.left_out
        ],
    }
