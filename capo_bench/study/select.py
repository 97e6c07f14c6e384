"""What the command line changes: ``--set`` the base of all variants, ``--only`` the trials that are run."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace

from capo_bench.study.errors import Place, StudyError, StudyErrors
from capo_bench.study.expand import OnCommandLine, Setting
from capo_bench.study.keys import dotted_keys, suggestion
from capo_bench.study.plan import Trial
from capo_bench.study.spec import Sweep
from capo_bench.study.yamlfile import parse_document
from trainers.config import TrialConfig


def parse_sets(sets: Sequence[str]) -> tuple[list[Setting], list[StudyError]]:
    """Return the settings of ``--set KEY=VALUE`` options, and what is wrong with the others."""
    settings, errors = list[Setting](), list[StudyError]()
    for text in sets:
        source = OnCommandLine(f"--set {text}")
        key, equals, value = text.partition("=")
        if not equals:
            errors.append(StudyError(source.place(), key, text, f"{text!r} is not KEY=VALUE", "e.g. credit.vote=union"))
        elif key not in dotted_keys(TrialConfig):
            hint = suggestion(key, dotted_keys(TrialConfig))
            errors.append(StudyError(source.place(), key, key, f"unknown key {key!r}", hint))
        else:
            try:
                settings.append(Setting(key, parse_document(value, source.text).tree, source))
            except StudyErrors as found:
                errors += [replace(item, place=source.place(), where=key) for item in found.items]
    return settings, errors


def swept_anyway(settings: Sequence[Setting], sweep: Sweep) -> list[StudyError]:
    """Return an error for each setting that every variant of the matrix would replace."""
    errors = []
    for setting in settings:
        for key in [*sweep.matrix, *sweep.zip]:
            if f"{setting.key}.".startswith(f"{key}."):
                rule = f"key {setting.key!r} is set for all variants, but the study sweeps {key!r}"
                way_out = "pick variants with --only, or change the matrix in the file"
                errors.append(StudyError(setting.source.place(), setting.key, setting.value, rule, way_out))
    return errors


@dataclass(frozen=True)
class Pick:
    """Which trials to keep; None where nothing was asked."""

    variants: frozenset[str] | None
    seeds: frozenset[int] | None

    def takes(self, trial: Trial) -> bool:
        """Whether a trial is kept."""
        by_name = self.variants is None or trial.variant in self.variants
        return by_name and (self.seeds is None or trial.seed in self.seeds)


def parse_only(only: Sequence[str], names: Sequence[str], seeds: Sequence[int]) -> tuple[Pick, list[StudyError]]:
    """Return what ``--only`` options pick: globs on variant names, and ``seed=1``; an error for each without a hit."""
    variants, numbers, errors = set[str](), set[int](), list[StudyError]()
    for pattern in only:
        if pattern.startswith("seed="):
            hits = {seed for seed in seeds if fnmatch.fnmatchcase(str(seed), pattern.removeprefix("seed="))}
            numbers |= hits
            if not hits:
                errors.append(_no_hit(pattern, "seed", seeds))
        else:
            matches = {name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)}
            variants |= matches
            if not matches:
                errors.append(_no_hit(pattern, "variant", names))
    return Pick(frozenset(variants) or None, frozenset(numbers) or None), errors


def _no_hit(pattern: str, kind: str, known: Sequence[object]) -> StudyError:
    shown = ", ".join(map(str, known[:20])) + (", …" if len(known) > 20 else "")
    place = Place(f"--only {pattern}")
    return StudyError(place, "", pattern, f"{pattern!r} matches no {kind}", f"{kind}s: {shown}")
