"""The credit view of one trial: what is read, what is picked, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_bench.home import TrialFolder
from capo_bench.replay.check import Check, check_step
from capo_bench.replay.scored import trains_on_scores
from capo_bench.replay.setting import trained_setting
from capo_bench.replay.study import recorded
from capo_bench.replay.trial import NothingStoredError, check_kept, is_whole
from capo_bench.report.collect import DamagedFileError, Results, Run, read_object
from capo_bench.report.digest import digested
from capo_bench.report.measures import measure, task_of
from capo_bench.report.page import self_contained, template_hash
from capo_bench.study.plan import Trial
from capo_bench.view.credited import Credited, credited
from capo_bench.view.pairs import Pair, pairs
from capo_bench.view.pick import KINDS, SCORED_KINDS, Section, Wish, eras, pick
from capo_bench.view.show import LEVELS, LONGEST_NAME, shown
from capo_bench.view.text import clipped, plain_number
from evals.files import write_atomic
from trainers.config import TrialConfig
from trainers.methods import METHODS
from trainers.rollouts import DamagedRolloutsError, read_step, stored_steps

DEFAULT = Wish()


class NothingToViewError(ValueError):
    """There is no rollout with critiques or scores of steps, or not the one that was asked for; says why."""


@dataclass(frozen=True)
class Chosen:
    """Whose rollouts are shown.

    Attributes:
        trial: The trial.
        folder: Its folder.
        start: Folder of the start's trial with the same seed, to set evaluations side by side; None without one.
        task: The evaluation task that is compared; empty without one.
    """

    trial: Trial
    folder: TrialFolder
    start: TrialFolder | None = None
    task: str = ""


def choose(results: Results) -> Chosen:
    """Return the trial to look at: of the variants with critiques or scores, the best; its first seed.

    Args:
        results: What the study's finished trials left; the best is so on the primary metric.

    Raises:
        NothingToViewError: No finished trial has stored critiques or scores of steps.
    """
    why = []
    for runs in sorted(results.runs.values(), key=lambda runs: _rank(runs.values(), results.primary)):
        for seed, run in sorted(runs.items()):
            try:
                _check(run.folder, run.trial.config)
            except NothingStoredError as error:
                why.append(f"{run.trial.variant}, seed {seed} ({run.trial.id}): {error}")
                continue
            before = results.runs.get(results.plan.start or "", {}).get(seed)
            return Chosen(run.trial, run.folder, None if before is None else before.folder, task_of(results.primary))
    reasons = why or ["no trial has finished; `capo-bench run` on the study first"]
    raise NothingToViewError("\n  ".join([f"nothing to view in study {results.plan.study!r}:", *reasons]))


def chosen_trial(folder: TrialFolder) -> Chosen:
    """Return a trial by its folder alone, without a start to compare with.

    Raises:
        NothingToViewError: Its settings cannot be read by this version.
        DamagedFileError: Its record is not JSON.
    """
    try:
        return Chosen(Trial.from_json(read_object(folder.config)), folder)
    except (ValueError, KeyError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise NothingToViewError(f"{folder.config}: not the settings of a trial of this version ({error})") from error


def write_view(chosen: Chosen, wish: Wish, out: Path) -> Path:
    """Write the page, and return its path.

    Raises:
        NothingToViewError: There is nothing to show.
        DamagedFileError: A file of the evaluation cannot be read.
    """
    write_atomic(out, view(chosen, wish))
    return out


def report_view(results: Results, digests: Path, out: Path) -> Path | None:
    """Write the default picks of a study.

    Args:
        results: What the study's finished trials left.
        digests: Folder in which the page is kept, so that it is made anew only where its files changed.
        out: Where to write.

    Returns:
        The page; None where no trial has stored critiques or scores, and then an older page goes.
    """
    try:
        chosen = choose(results)
        files = _files(chosen)
        digest = digests / f"{results.plan.study}.credit.json"
        text = digested(digest, files, lambda: view(chosen), chosen.trial.id, template_hash("credit"))
    except NothingToViewError:
        out.unlink(missing_ok=True)
        return None
    write_atomic(out, text)
    return out


def view(chosen: Chosen, wish: Wish = DEFAULT) -> str:
    """Return the page of a trial.

    Raises:
        NothingToViewError: There is nothing to show.
        DamagedFileError: A file of the evaluation cannot be read.
    """
    try:
        _check(chosen.folder, chosen.trial.config)
    except NothingStoredError as error:
        raise NothingToViewError(f"nothing to view in trial {chosen.trial.id}: {error}") from error
    shelf = _Shelf(chosen)
    try:
        kinds = SCORED_KINDS if trains_on_scores(chosen.trial.config) else KINDS
        sections = pick(list(shelf.files), shelf.read, wish, chosen.trial.id, kinds)
    except LookupError as error:
        raise NothingToViewError(f"trial {chosen.trial.id}: {error.args[0]}") from error
    compared = _pairs(chosen) if wish.by_kind else []
    return _page(chosen, sections, compared, shelf)


def _page(chosen: Chosen, sections: Sequence[Section], compared: Sequence[Pair], shelf: _Shelf) -> str:
    trial = chosen.trial
    return self_contained(
        "credit",
        trial=trial,
        last=max(shelf.files, default=0),
        scored=trains_on_scores(trial.config),
        facts=_facts(trial.config),
        sections=[(section, [shown(one) for one in section.shown]) for section in sections],
        pairs=compared,
        task=chosen.task,
        levels=LEVELS,
        check=shelf.check,
        damaged=shelf.damaged,
    )


def _facts(config: TrialConfig) -> list[str]:
    """Return what decided the credit."""
    if trains_on_scores(config):
        heeds, temperature = METHODS.get(config.method).heeds("prm.temperature"), config.prm.temperature
        told = [f"temperature {'0' if temperature is None else plain_number(temperature)}"] if heeds else []
        return [
            f"process reward model {clipped(config.prm.model, LONGEST_NAME)}",
            f"W_whole {plain_number(config.prm.w_whole)}",
            *told,
        ]
    setting = trained_setting(config.credit)
    whole, process = plain_number(setting.weights.whole), plain_number(setting.weights.process)
    return [
        f"critic {config.critic.name}",
        f"vote {setting.ballot.vote.label} of {setting.ballot.k}",
        f"W_whole {whole}, W_process {process}",
        f"advantages over {config.credit.normalization.replace('_', ' ')}",
    ]


class _Shelf:
    """The stored steps of a trial, each read once and compared with what training recorded of it."""

    def __init__(self, chosen: Chosen) -> None:
        self._config = chosen.trial.config
        self._recorded = recorded(chosen.folder)
        self._last: tuple[int, list[Credited]] = (0, [])
        self._seen: set[int] = set()
        self.files = stored_steps(chosen.folder.rollouts)
        self.check = Check()
        self.damaged: list[str] = []

    def read(self, number: int) -> list[Credited]:
        """Return the rollouts of a step; none where it cannot be read, which is noted."""
        if self._last[0] != number:
            self._last = number, self._read(number)
            self._seen.add(number)
        return self._last[1]

    def _read(self, number: int) -> list[Credited]:
        first = number not in self._seen
        try:
            step = read_step(number, self.files[number])
        except DamagedRolloutsError as error:
            self.damaged += [str(error)] * first
            return []
        if not is_whole(step, self._config.train.group_size):
            self.damaged += [f"optimizer step {number} does not hold whole groups"] * first
            return []
        if first:
            check_step(self.check, step, self._config, self._recorded.get(number))
        return credited(step, self._config)


def _check(folder: TrialFolder, config: TrialConfig) -> None:
    """Say why a trial has no critiques or scores of steps, if it has none; one that still trains may have some."""
    if not trains_on_scores(config) and "critic" not in METHODS.get(config.method).uses:
        raise NothingStoredError(f"method {config.method} asks no critic and no process reward model about steps")
    check_kept(folder)
    first = next(iter(stored_steps(folder.rollouts).items()))
    try:
        aims = {rollout.aim for rollout in read_step(*first).rollouts[:1]}
    except DamagedRolloutsError:
        return
    if aims == {"answer"}:
        raise NothingStoredError(f"method {config.method} asks its critic about answers, not about steps")


def _files(chosen: Chosen) -> list[Path]:
    """Return what default picks are made of."""
    stored = stored_steps(chosen.folder.rollouts)
    looked = [number for numbers in eras(list(stored)).values() for number in numbers]
    folders = [chosen.folder, *([chosen.start] if chosen.start else [])]
    samples = [folder.samples(chosen.task) for folder in folders if chosen.task]
    return [*(path for number in looked for path in stored[number]), chosen.folder.steps, *samples]


def _pairs(chosen: Chosen) -> list[Pair]:
    if chosen.start is None or not chosen.task or chosen.start.path == chosen.folder.path:
        return []
    return pairs(chosen.start, chosen.folder, chosen.task, chosen.trial.config.evaluation.segmenter)


def _rank(runs: Any, metric: str) -> float:
    """Return what sorts the better variants first; those without the metric last."""
    values = [value for run in runs if (value := _share(run, metric)) is not None]
    if not values:
        return float("inf")
    mean = sum(values) / len(values)
    return -mean if measure(metric).better == "higher" else mean


def _share(run: Run, metric: str) -> float | None:
    value = run.shares.get(metric)
    return None if value is None or value != value else value  # noqa: PLR0124 - NaN
