"""A replay of other votes: its tables, heat maps, page and files. Equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.critic.quality import Vote
from capo_bench.pages import svg
from capo_bench.pages.critic_tables import share_lines, share_of
from capo_bench.pages.page import Page, Section, html
from capo_bench.pages.svg import Figure, draw
from capo_bench.pages.text import Table, comma_separated, percent, two_digits
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


Row = Mapping[str, Any]
"""A row of `StudyReplay.rows`."""


def write_replay(replay: StudyReplay, folder: Path) -> tuple[Path, ...]:
    """Write ``revote.csv``, ``revote.json`` and ``revote.html`` into a folder, and return their paths."""
    paths = folder / "revote.csv", folder / "revote.json", folder / "revote.html"
    headings = list(replay.rows[0]) if replay.rows else []
    write_atomic(paths[0], comma_separated(headings, [list(row.values()) for row in replay.rows]))
    write_json(paths[1], _whole(replay))
    write_atomic(paths[2], html(replay_page(replay)))
    return paths


def replay_page(replay: StudyReplay) -> Page:
    """Return the page of a replay."""
    return Page(
        title=f"Other votes: {replay.study}",
        about=f"Profile {replay.profile} · {len(replay.replays)} trials replayed",
        sections=[
            Section("By rule and k", figures=list(heat_maps(replay.rows))),
            Section("Numbers", tables=replay_tables(replay.rows)),
            Section("How to read it", notes(replay)),
        ],
    )


def replay_tables(rows: Sequence[Row]) -> list[Table]:
    """Return three tables a critic, each of which fits a terminal: what votes say of steps, and what tokens earn."""
    return [table for own in _by_critic(rows).values() for table in (_labels(own), *_by_weights(own))]


def _labels(rows: Sequence[Row]) -> Table:
    first = rows[0]
    title = (
        f"Critic {first['critic']}: {first['trials']} trials, {first['rollouts']:,} rollouts, "
        f"{first['labelled_steps']:,} checked steps of {first['problems']:,} problems; % [95 % interval]"
    )
    headings = ("rule", "k", "flagged", "precision", "recall", "F1", "abstained")
    # Labels hang on no weights: the rows of one pair say all of them.
    alike = [row for row in rows if _weights(row) == _weights(first)]
    return Table(title, headings, tuple(_lines(alike, rows, label_cells)))


def label_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row of `LabelTally.row`: flagged, precision, recall, F1, abstained."""
    shares = (share_of(row, name) for name in ("precision", "recall", "f1"))
    return (percent(row["flagged_step_rate"]), *shares, percent(row["abstained"]))


_DISTANCES = {
    "labels and token rewards against those of training": {
        "as trained": ("label_agreement", percent),
        "reward changed": ("reward_changed", percent),
        "mean |Δr|": ("reward_moved", two_digits),
    },
    "advantages against those of training": {
        "sign changed": ("sign_changed", percent),
        "mean |Δ|": ("moved", two_digits),
        "corr. exact": ("correlation_exact", two_digits),
        "process only": ("process_only", percent),
    },
}
"""Titles of tables to their columns: heading to a number of the row and how it is shown."""


def _by_weights(rows: Sequence[Row]) -> Iterator[Table]:
    pairs = {_weights(row) for row in rows}
    several = len(pairs) > 1
    for what, columns in _DISTANCES.items():

        def cells(row: Row, columns: Mapping[str, Any] = columns) -> tuple[str, ...]:
            return (*[_weights(row)] * several, *(show(row[name]) for name, show in columns.values()))

        title = f"Critic {rows[0]['critic']}: {what}" + ("" if several else f", weights {_weights(rows[0])}")
        headings = ("rule", "k", *["weights"] * several, *columns)
        yield Table(f"{title}; shares in %", headings, tuple(_lines(rows, rows, cells)))


def _lines(shown: Sequence[Row], rows: Sequence[Row], cells: Callable[[Row], tuple[str, ...]]) -> list[tuple[str, ...]]:
    trained = {(_rule(row), row["k"]) for row in rows if row["trained_with"]}
    most = max(row["trials"] for row in rows)
    lines = [(_rule(row), row["k"], (_k(row, most), *cells(row))) for row in shown]
    return [(name, *texts) for name, texts in share_lines(lines, trained)]


def _k(row: Row, most: int) -> str:
    fewer = f" ({row['trials']} of {most} trials)" if row["trials"] < most else ""
    return f"{row['k']}{fewer}"


def _rule(row: Row) -> str:
    return Vote(row["rule"], row["at_least"]).label


def _weights(row: Row) -> str:
    return Weights(row["w_whole"], row["w_process"]).label


def notes(replay: StudyReplay) -> list[str]:
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


def heat_maps(rows: Sequence[Row]) -> Iterator[Figure]:
    """Yield the heat maps: F1, then correlation with exact advantages and sign changes for each pair of weights."""
    for critic, own in _by_critic(rows).items():
        by_weights: dict[str, list[Row]] = {}
        for row in sorted(own, key=lambda row: (row["w_whole"], row["w_process"])):
            by_weights.setdefault(_weights(row), []).append(row)
        yield from _map(f"{critic}: F1 of the labels (%)", next(iter(by_weights.values())), "f1", percent)
        for pair, these in by_weights.items():
            exact = f"{critic}: correlation with the advantages under exact labels, weights {pair}"
            changed = f"{critic}: tokens with another sign than trained (%), weights {pair}"
            yield from _map(exact, these, "correlation_exact", two_digits)
            yield from _map(changed, these, "sign_changed", percent)


def _map(title: str, rows: Sequence[Row], name: str, show: Callable[[float], str]) -> Iterator[Figure]:
    """Yield a heat map of rules by k; none where nothing is defined."""
    values = {(_rule(row), row["k"]): row[name] for row in rows}
    cells = {
        (rule, k): (value, show(value), f"{rule} of {k}: {show(value)}")
        for (rule, k), value in values.items()
        if value is not None
    }
    if not cells:
        return
    ks, rules = sorted({k for _, k in values}), list(dict.fromkeys(rule for rule, _ in values))
    grid = [[cells.get((rule, k)) for k in ks] for rule in rules]
    words = "; ".join(in_words for _, _, in_words in cells.values())
    yield draw("votes", title, words, svg.heat(rules, [str(k) for k in ks], grid, "critiques (k)"))


def _by_critic(rows: Sequence[Row]) -> dict[str, list[Row]]:
    critics: dict[str, list[Row]] = {}
    for row in rows:
        critics.setdefault(row["critic"], []).append(row)
    return critics


def _whole(replay: StudyReplay) -> dict[str, Any]:
    return {
        "study": replay.study,
        "profile": replay.profile,
        "rows": replay.rows,
        "trials": [{**_named(trial), **asdict(replayed)} for trial, replayed in replay.replays],
        "left_out": [{**_named(trial), "why": why} for trial, why in replay.left_out],
    }


def _named(trial: Trial) -> dict[str, Any]:
    return {"id": trial.id, "variant": trial.variant, "seed": trial.seed}
