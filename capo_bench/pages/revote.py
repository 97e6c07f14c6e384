"""A replay of other votes: its tables, figures, page and files. Equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.pages import svg
from capo_bench.pages.critic_tables import SHARES, Cell, Row, group_by_critic, name_rule, vote_lines
from capo_bench.pages.page import Page, Section, write_page
from capo_bench.pages.svg import Axis, Figure, Panel, Point, Series, draw
from capo_bench.pages.text import Table, format_csv_of_rows, format_percent, format_two_digits
from capo_bench.revote.setting import Weights
from capo_bench.revote.study import StudyReplay
from capo_bench.store.home import write_json
from evals.files import write_atomic

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

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


def write_replay(replay: StudyReplay, folder: Path) -> tuple[Path, ...]:
    """Write ``revote.csv``, ``revote.json`` and the page into a folder, and return the paths of all but tables."""
    table, whole = folder / "revote.csv", folder / "revote.json"
    write_atomic(table, format_csv_of_rows(replay.rows))
    write_json(whole, _is_whole(replay))
    return table, whole, *write_page(replay_page(replay), folder, "revote")


def replay_page(replay: StudyReplay) -> Page:
    """Return the page of a replay."""
    return Page(
        title=f"Other votes: {replay.study}",
        about=f"Profile {replay.profile} · {len(replay.replays)} trials replayed",
        sections=[
            Section("By rule and k", figures=vote_figures(replay.rows)),
            Section("Numbers", tables=replay_tables(replay.rows)),
            Section("How to read it", list_notes(replay)),
        ],
    )


def replay_tables(rows: Sequence[Row]) -> list[Table]:
    """Return three tables a critic, each of which fits a terminal: what votes say of steps, and what tokens earn."""
    return [table for own in group_by_critic(rows).values() for table in (_list_labels(own), *_group_by_weights(own))]


def _list_labels(rows: Sequence[Row]) -> Table:
    first = rows[0]
    title = (
        f"Critic {first['critic']}: {first['trials']} trials, {first['rollouts']:,} rollouts, "
        f"{first['labelled_steps']:,} checked steps of {first['problems']:,} problems; % [95 % interval]"
    )
    columns: dict[str, Cell] = {
        "flagged": lambda row: format_percent(row["flagged_step_rate"]),
        **SHARES,
        "abstained": lambda row: format_percent(row["abstained"]),
    }
    # Labels hang on no weights: the rows of one pair say all of them.
    return _build_table(title, [row for row in rows if _format_weights(row) == _format_weights(first)], rows, columns)


_DISTANCES: Mapping[str, Mapping[str, Cell]] = {
    "labels and token rewards against those of training": {
        "as trained": lambda row: format_percent(row["label_agreement"]),
        "reward changed": lambda row: format_percent(row["reward_changed"]),
        "mean |Δr|": lambda row: format_two_digits(row["reward_moved"]),
    },
    "advantages against those of training": {
        "sign changed": lambda row: format_percent(row["sign_changed"]),
        "mean |Δ|": lambda row: format_two_digits(row["moved"]),
        "corr. exact": lambda row: format_two_digits(row["correlation_exact"]),
        "process only": lambda row: format_percent(row["process_only"]),
    },
}
"""Titles of tables to their columns."""


def _group_by_weights(rows: Sequence[Row]) -> Iterator[Table]:
    several = len({_format_weights(row) for row in rows}) > 1
    for what, columns in _DISTANCES.items():
        title = f"Critic {rows[0]['critic']}: {what}" + ("" if several else f", weights {_format_weights(rows[0])}")
        own: dict[str, Cell] = {"weights": _format_weights} if several else {}
        yield _build_table(f"{title}; shares in %", rows, rows, {**own, **columns})


def _build_table(title: str, shown: Sequence[Row], rows: Sequence[Row], columns: Mapping[str, Cell]) -> Table:
    """Return a table of some rows of a critic's; `rows` are all of them."""
    trained = {(name_rule(row), row["k"]) for row in rows if row["trained_with"]}
    most = max(row["trials"] for row in rows)

    def k(row: Row) -> str:
        return f"{row['k']}" + (f" ({row['trials']} of {most} trials)" if row["trials"] < most else "")

    columns = {"k": k, **columns}
    return Table(title, ("rule", *columns), tuple(vote_lines(shown, columns, trained)))


def _format_weights(row: Row) -> str:
    return Weights(row["w_whole"], row["w_process"]).label


def list_notes(replay: StudyReplay) -> list[str]:
    """Say what a reader must know, and what is in no number."""
    stored = {(trial.config.critic.name, trial.config.credit.critiques) for trial, _ in replay.replays}
    several = len(stored) > len({name for name, _ in stored})
    lines = [FIRST_K, *([FEWER] if several else []), READING]
    lines += [line for _, replayed in replay.replays for line in replayed.damaged[:3]]
    lines += [f"Not replayed: {wish}." for wish in replay.unmet]
    reasons: dict[str, list[str]] = {}
    for trial, why in replay.left_out:
        reasons.setdefault(why, []).append(f"{trial.variant} seed {trial.seed}")
    return lines + [f"Left out: {', '.join(names)}: {why}." for why, names in reasons.items()]


def vote_figures(rows: Sequence[Row]) -> list[Figure]:
    """Draw for each critic what rules give as k grows: F1, and for each pair of weights how advantages differ."""
    drawn = []
    for number, (critic, own) in enumerate(group_by_critic(rows).items(), 1):
        by_weights: dict[str, list[Row]] = {}
        for row in sorted(own, key=lambda row: (row["w_whole"], row["w_process"], row["k"])):
            by_weights.setdefault(_format_weights(row), []).append(row)
        panels = [_draw_over_k(next(iter(by_weights.values())), "f1", "F1 of the labels (%)", 100)]
        for pair, these in by_weights.items():
            panels.append(
                _draw_over_k(these, "correlation_exact", f"correlation with exact advantages, weights {pair}", 1)
            )
            panels.append(_draw_over_k(these, "sign_changed", f"tokens of another sign (%), weights {pair}", 100))
        panels = [panel for panel in panels if panel.series]
        caption = f"{critic}: F1 of the labels, and advantages against those under exact labels and those of training."
        notes = "; ".join(point.note for panel in panels for line in panel.series for point in line.points)
        drawn += [draw(f"votes_{number}", caption, notes, svg.draw_panels(panels))] if panels else []
    return drawn


def _draw_over_k(rows: Sequence[Row], name: str, label: str, scale: float) -> Panel:
    """Return a number of rows, sorted by k, against k: a line a rule, of the rules that define it."""
    looks = svg.choose_looks(list(dict.fromkeys(map(name_rule, rows))))
    lines: dict[str, list[Point]] = {}
    for row in rows:
        if row[name] is not None:
            value, rule = scale * row[name], name_rule(row)
            lines.setdefault(rule, []).append(Point(row["k"], value, f"{rule} of {row['k']}: {label} {value:.4g}"))
    ticks = tuple((k, str(k)) for k in sorted({row["k"] for row in rows}))
    series = [Series(rule, points, looks[rule], line=True) for rule, points in lines.items()]
    return Panel(series, Axis("critiques (k)", log=True, ticks=ticks), Axis(label))


def _is_whole(replay: StudyReplay) -> dict[str, Any]:
    return {
        "study": replay.study,
        "profile": replay.profile,
        "rows": replay.rows,
        "trials": [{**_name_trial(trial), **asdict(replayed)} for trial, replayed in replay.replays],
        "left_out": [{**_name_trial(trial), "why": why} for trial, why in replay.left_out],
    }


def _name_trial(trial: Trial) -> dict[str, Any]:
    return {"id": trial.id, "variant": trial.variant, "seed": trial.seed}
