"""Where results come from: what all trials share, what they don't, and whether that is a warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from capo_bench.analysis.collect import Run
from capo_bench.store.records import flatten
from trainers.methods import METHODS
from trainers.teaching import TeachingConfig

ALWAYS_DIFFERENT = ("started", "finished")
"""Parts that differ between any two trials."""

MUST_AGREE = {
    "git": "commits or working trees",
    "packages": "package versions",
    "plumbing": "versions of code that no trial's id knows",
    "hardware": "machines",
    "python": "Python versions",
}
"""Parts that should be one and the same over a study, and what it means when they are not."""


@dataclass(frozen=True)
class Provenance:
    """Where a study's results come from.

    Attributes:
        shared: Path to the value that all trials have.
        differing: Path to value to the trials that have it, for what is not shared.
        warnings: Sentences on mixed or uncommitted origins.
        pipelines: Sentences on which taught models the seeds share, and which each has for itself.
    """

    shared: Mapping[str, str]
    differing: Mapping[str, Mapping[str, tuple[str, ...]]]
    warnings: tuple[str, ...]
    pipelines: tuple[str, ...]


def compare_provenance(runs: list[Run]) -> Provenance:
    """Compare the provenance of trials."""
    flats = {_name(run): flatten(run.provenance) for run in runs}
    paths = list(dict.fromkeys(path for flat in flats.values() for path in flat))
    shared: dict[str, str] = {}
    differing: dict[str, dict[str, tuple[str, ...]]] = {}
    for path in paths:
        by_value: dict[str, list[str]] = {}
        for name, flat in flats.items():
            value = format_leaf(flat[path]) if path in flat else "(absent)"
            by_value.setdefault(value, []).append(name)
        if len(by_value) == 1:
            shared[path] = next(iter(by_value))
        else:
            differing[path] = {value: tuple(names) for value, names in by_value.items()}
    return Provenance(shared, differing, _list_warnings(runs, differing), _describe_pipelines(runs))


def _describe_pipelines(runs: list[Run]) -> tuple[str, ...]:
    """Say which models taught for the trials are shared by seeds; nothing of a single seed."""
    seeds: dict[str, dict[int, set[int]]] = {}
    for run in runs:
        for name, taught in _list_taught(run):
            seeds.setdefault(name, {}).setdefault(taught.number, set()).add(run.trial.seed)
    if len({run.trial.seed for run in runs}) == 1:
        return ()
    shared = [name for name, made in seeds.items() if any(len(users) > 1 for users in made.values())]
    own = [name for name in seeds if name not in shared]
    lines = []
    if shared:
        models = " and ".join(shared).capitalize()
        lines.append(
            f"{models}: one training each, shared by all seeds: no interval here knows how much others would differ."
        )
    if own:
        lines.append(f"Each seed has its own {' and '.join(own)}.")
    return tuple(lines)


def _list_taught(run: Run) -> Iterator[tuple[str, TeachingConfig]]:
    """Yield what is taught for a trial, and how."""
    config, uses = run.trial.config, METHODS.get(run.trial.config.method).uses
    critic = config.critic.embedded_critic
    if config.supervised is not None:
        yield "start", config.supervised
    if "critic" in uses and critic is not None:
        yield "critic", critic
    if "prm" in uses and config.prm.taught is not None:
        yield "process reward model", config.prm.taught


def format_leaf(value: object) -> str:
    """Return a leaf as a reader would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(format_leaf(item) for item in value) or "(none)"
    return {True: "yes", False: "no", None: "(none)"}[value] if value is None or isinstance(value, bool) else str(value)


def _list_warnings(runs: list[Run], differing: Mapping[str, Mapping[str, tuple[str, ...]]]) -> tuple[str, ...]:
    warnings = []
    for part, meaning in MUST_AGREE.items():
        paths = [path for path in differing if path.partition(".")[0] == part]
        if paths:
            values = {path: " or ".join(differing[path]) for path in paths[:3]}
            examples = "; ".join(f"{path}: {value}" for path, value in values.items())
            more = f"; and {len(paths) - 3} more" if len(paths) > 3 else ""
            warnings.append(
                f"Trials come from different {meaning} ({examples}{more}): differences may come from there."
            )
    dirty = [_name(run) for run in runs if (run.provenance.get("git") or {}).get("dirty")]
    if dirty:
        warnings.append(
            f"{len(dirty)} of {len(runs)} trials ran with uncommitted changes: their commit does not tell all."
        )
    bare = [_name(run) for run in runs if not run.provenance]
    if bare:
        warnings.append(f"{len(bare)} of {len(runs)} trials left no provenance: {', '.join(bare)}.")
    return tuple(warnings)


def _name(run: Run) -> str:
    return f"{run.trial.variant}, seed {run.trial.seed} ({run.trial.id})"
