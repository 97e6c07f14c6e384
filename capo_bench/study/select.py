"""Apply the options ``--set``, which changes all variants, and ``--only``, which selects trials."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from capo_bench.study.errors import Place, StudyError, StudyErrors
from capo_bench.study.expand import Draft, KeySetting, Source, format_swept_value, shorten_names
from capo_bench.study.keys import list_dotted_keys, suggest_key
from capo_bench.study.plan import Plan
from capo_bench.study.resolve import Base, apply
from capo_bench.study.spec import Sweep
from capo_bench.study.yamlfile import Document, parse_document
from trainers.config import TrialConfig
from trainers.methods import METHODS

Axis = Sequence[KeySetting]
"""Settings that ``--set KEY=A,B`` sweeps over all variants: one setting of the key for each value."""


def read_setting(text: str) -> list[KeySetting]:
    """Return the settings of ``--set KEY=VALUE``, where values are YAML: one, or one for each value of ``KEY=A,B``.

    Raises:
        StudyErrors: The text is not KEY=VALUE, or a value is not valid YAML.
    """
    option = f"--set {text}"
    source = Source(Document(option, None, {}))
    key, equals, value = text.partition("=")
    if not (key and equals):
        rule, way_out = f"{text!r} is not KEY=VALUE", "e.g. credit.vote=union; KEY=A,B sweeps"
        raise StudyErrors([StudyError(source.place(), rule, way_out)])
    try:
        values = parse_document(f"[{value}]", option).tree or [None]
        return [KeySetting(key, each, source) for each in values]
    except StudyErrors as errors:
        raise StudyErrors([replace(item, place=source.place()) for item in errors.items]) from errors


def parse_seeds(sets: Sequence[str]) -> tuple[list[int] | None, list[str], list[StudyError]]:
    """Return the seeds 0 to N − 1 of ``--set seeds=N`` (None without that option), the other settings, and errors."""
    given = [text for text in sets if text.partition("=")[0] == "seeds"]
    rest, errors = [text for text in sets if text not in given], list[StudyError]()
    for text in given:
        if not re.fullmatch(r"[1-9][0-9]{0,3}", text.partition("=")[2].strip()):
            rule = f"{text!r}: no number of seeds"
            errors.append(StudyError(Place(f"--set {text}"), rule, "e.g. seeds=7 for 0 to 6"))
    if errors or not given:
        return None, rest, errors
    return list(range(int(given[-1].partition("=")[2]))), rest, []


def parse_sets(sets: Sequence[str]) -> tuple[list[KeySetting], list[Axis], list[StudyError]]:
    """Return the settings for all variants from ``--set`` options, the swept settings, and the errors."""
    settings, axes, errors = list[KeySetting](), list[Axis](), list[StudyError]()
    for text in sets:
        try:
            read = read_setting(text)
        except StudyErrors as wrong:
            errors += wrong.items
            continue
        key = read[0].key
        if key not in list_dotted_keys(TrialConfig):
            hint = suggest_key(key, list_dotted_keys(TrialConfig))
            errors.append(StudyError(read[0].source.place(), f"unknown key {key!r}", hint))
        elif len(read) == 1:
            settings += read
        else:
            axes.append(read)
    return settings, axes, errors


def sweep_by_sets(drafts: Sequence[Draft], sweep: Sweep, axes: Sequence[Axis], base: Base) -> tuple[list[Draft], Sweep]:
    """Return every variant with every value of the axes, and the sweep with updated roles.

    A variant that sets a key itself, or whose method does not use the key, is not multiplied. Variants are compared
    with the baseline that has the same swept values; if there was only one variant, with its first value.
    """
    swept, alone = list(drafts), len(drafts) == 1
    labels = shorten_names([*sweep.matrix, *sweep.zip, *(axis[0].key for axis in axes)])
    for axis in axes:
        key = axis[0].key
        first = {draft.name: _add_setting(draft, axis[0], labels) for draft in swept if _is_swept(draft, key, base)}
        roles = {role: first[name].name for role in ("baseline", "start") if (name := getattr(sweep, role)) in first}
        within = [] if alone or "baseline" not in roles else [key]
        sweep = sweep.model_copy(update={**roles, "within": [*sweep.within, *within]})
        swept = [
            each
            for draft in swept
            for each in ([_add_setting(draft, setting, labels) for setting in axis] if draft.name in first else [draft])
        ]
    return swept, sweep


def _is_swept(draft: Draft, key: str, base: Base) -> bool:
    """Return whether a variant does not set a key itself and its method uses the key."""
    if any(f"{own}.".startswith(f"{key}.") or f"{key}.".startswith(f"{own}.") for own in draft.overrides):
        return False
    method = apply(base.tree, draft.settings).get("method", "capo")
    return method not in METHODS.names() or METHODS.get(str(method)).heeds(key)


def _add_setting(draft: Draft, setting: KeySetting, labels: Mapping[str, str]) -> Draft:
    name = f"{labels[setting.key]}={format_swept_value(setting.value)}"
    unnamed = draft.name == "base" and not draft.settings
    return Draft(name if unnamed else f"{draft.name},{name}", (*draft.settings, setting), setting.source)


def check_swept(settings: Sequence[KeySetting], sweep: Sweep) -> list[StudyError]:
    """Return an error for each setting that the matrix or zip would override in every variant."""
    errors = []
    for setting in settings:
        for key in [*sweep.matrix, *sweep.zip]:
            if f"{setting.key}.".startswith(f"{key}."):
                rule = f"key {setting.key!r} is set for all variants, but the study sweeps {key!r}"
                way_out = "pick variants with --only, or change the matrix in the file"
                errors.append(StudyError(setting.source.place(), rule, way_out))
    return errors


def match_only(
    only: Sequence[str], names: Sequence[str], seeds: Sequence[int]
) -> tuple[set[str], set[int], list[StudyError]]:
    """Return the variants and the seeds that ``--only`` options name, and an error for each option without a match.

    Args:
        only: Globs on variants, and ``seed=1``.
        names: All variants.
        seeds: All seeds.
    """
    variants, numbers, errors = set[str](), set[int](), list[StudyError]()
    for pattern in only:
        if pattern.startswith("seed="):
            hits = {seed for seed in seeds if fnmatch.fnmatchcase(str(seed), pattern.removeprefix("seed="))}
            numbers |= hits
            if not hits:
                errors.append(_report_no_match(pattern, "seed", seeds))
        else:
            matches = {name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)}
            variants |= matches
            if not matches:
                errors.append(_report_no_match(pattern, "variant", names))
    return variants, numbers, errors


def select(plan: Plan, only: Sequence[str]) -> Plan:
    """Return a plan with the trials that ``--only`` options select.

    A trial is selected if its variant matches any of the globs and its seed is any of the seeds.

    Raises:
        StudyErrors: An option matches nothing.
    """
    seeds = sorted({trial.seed for trial in plan.trials})
    variants, numbers, errors = match_only(only, [variant.name for variant in plan.variants], seeds)
    if errors:
        raise StudyErrors(errors)
    chosen = (
        trial
        for trial in plan.trials
        if (not variants or trial.variant in variants) and (not numbers or trial.seed in numbers)
    )
    # Seeds that the user selects are fixed.
    return replace(plan, trials=tuple(chosen), looks=() if numbers else plan.looks)


def _report_no_match(pattern: str, kind: str, names: Sequence[object]) -> StudyError:
    shown = ", ".join(map(str, names[:20])) + (", …" if len(names) > 20 else "")
    return StudyError(Place(f"--only {pattern}"), f"{pattern!r} matches no {kind}", f"{kind}s: {shown}")
