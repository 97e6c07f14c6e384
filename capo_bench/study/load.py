"""Load a study file and build its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from capo_bench.study.checks import (
    check_counterparts,
    check_duplicates,
    check_measurements,
    check_metrics,
    check_names,
    check_settings,
    check_sweep,
)
from capo_bench.study.code import PartError
from capo_bench.study.data import check_row_files
from capo_bench.study.errors import Place, StudyError, StudyErrors
from capo_bench.study.expand import Draft, KeySetting, Source, Sources, build_drafts
from capo_bench.study.identity import Identity, add_seed, hash_plain, identify_trial, make_trial_id
from capo_bench.study.keys import suggest_key
from capo_bench.study.parse import parse_study
from capo_bench.study.plan import Plan, Trial, Variant
from capo_bench.study.resolve import Base, resolve
from capo_bench.study.select import check_swept, match_only, parse_seeds, parse_sets, select, sweep_by_sets
from capo_bench.study.spec import DEFAULT_PROFILE, Study, Sweep
from capo_bench.study.yamlfile import Document, TreePath, parse_document, read_document
from evals.registry import find_nearest
from evals.tasks.rows import DataErrors
from trainers.teaching import add_trial_seed

SHIPPED = "ablations"


def list_shipped_studies() -> list[str]:
    """Return the names of the studies in the package."""
    names = [Path(item.name) for item in files(SHIPPED).iterdir()]
    return sorted(path.stem for path in names if path.suffix == ".yaml")


def load_plan(
    path_or_name: str | Path,
    profile: str = DEFAULT_PROFILE,
    sets: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Plan:
    """Read a study and expand one of its profiles.

    Args:
        path_or_name: A file, or the bare name of a shipped study.
        profile: One of the study's profiles.
        sets: ``"dotted.key=value"`` with a YAML value; changes the base of all variants, after the profile's `set`. A
            variant's own value of the key is kept; a key that matrix or zip sweeps is an error. ``"key=a,b"`` sweeps
            the key. ``"seeds=7"`` selects the seeds 0 to 6, whatever the profile says.
        only: Globs on variant names and ``"seed=1"``. A trial is kept if its variant matches any of the globs and its
            seed is any of the seeds. Variants and baseline of the plan do not change, only its trials.

    Raises:
        StudyErrors: The file or the arguments are invalid; lists all errors.
    """
    study = read_study(path_or_name)
    if profile not in study.profiles:
        way_out = suggest_key(profile, study.profiles).replace("known keys", "profiles")
        unknown = StudyError(study.document.place(("profiles",)), f"unknown profile {profile!r}", way_out)
        raise StudyErrors([*study.errors, unknown])
    return study.plan(profile, sets, only)


def check_study(path_or_name: str | Path) -> list[Plan]:
    """Return the plans of all profiles of a study.

    Raises:
        StudyErrors: A profile is invalid; lists all errors of all profiles.
    """
    study, plans, errors = read_study(path_or_name), [], []
    for profile in study.profiles:
        try:
            plans.append(study.plan(profile))
        except StudyErrors as error:
            errors += error.items
    if errors:
        raise StudyErrors(errors)
    return plans


@dataclass(frozen=True)
class StudyFile:
    """A study and the file that it was read from; invalid parts are left out of the study and listed in `errors`."""

    document: Document
    study: Study
    errors: list[StudyError]

    @property
    def profiles(self) -> list[str]:
        """Names of the profiles, always including ``quick``."""
        return list(dict.fromkeys([*self.study.profiles, DEFAULT_PROFILE]))

    def plan(self, profile: str, sets: Sequence[str] = (), only: Sequence[str] = ()) -> Plan:
        """Expand one profile, as `load_plan` does.

        Raises:
            StudyErrors: The profile or the arguments are invalid; lists all errors.
        """
        sweep, sources, settings = self._apply_profile(profile)
        errors = [*self.errors]
        seeds, sets, more = parse_seeds(sets)
        sweep = sweep if seeds is None else sweep.model_copy(update={"seeds": seeds})
        errors += more
        given, axes, more = parse_sets(sets)
        errors += more
        settings = [*settings, *given]
        errors += check_swept([*settings, *(axis[0] for axis in axes)], sweep)
        base = Base(self.study.base, Source(self.document, ("base",)), settings)
        planned, sweep = sweep_by_sets(build_drafts(sweep, sources), sweep, axes, base)
        variants, more = resolve(planned, base)
        errors += more
        by_name = {draft.name: draft for draft in planned}
        errors += [*check_metrics(sweep, sources, variants), *check_settings(variants, by_name, base)]
        errors += [
            *check_measurements(variants, by_name, base, sweep.baseline),
            *check_row_files(variants, by_name, base),
        ]
        if not self.errors:  # invalid parts were removed, which would cause further errors here
            errors += list(check_sweep(sweep, sources)) or check_names(sweep, sources, planned)
        trials, groups, more = _build_trials(variants, sweep.seed_numbers, by_name, base)
        errors += more
        if not errors:
            errors += [*check_duplicates(groups, by_name), *check_counterparts(sweep, sources, variants, by_name)]
        *_, more = match_only(only, [draft.name for draft in planned], sweep.seed_numbers)
        errors += more
        if errors:
            raise StudyErrors(errors)
        plan = Plan(
            study=self.study.name,
            question=" ".join(self.study.question.split()),
            file=self.document.file,
            profile=profile,
            baseline=sweep.baseline,
            start=sweep.start,
            metrics=tuple(sweep.metrics),
            variants=tuple(variants),
            trials=tuple(trials),
            within=tuple(sweep.within),
            looks=sweep.looks,
            machine=sweep.machine,
        )
        return select(plan, only)

    def _apply_profile(self, name: str) -> tuple[Sweep, Sources, list[KeySetting]]:
        profile = self.study.profiles.get(name)
        if profile is None:
            return self.study, Sources(self.document, {}), []
        given = profile.model_fields_set - {"set"}
        sweep = self.study.model_copy(update={key: getattr(profile, key) for key in given})
        at: TreePath = ("profiles", name)
        settings = [
            KeySetting(key, value, Source(self.document, (*at, "set", key))) for key, value in profile.set.items()
        ]
        return sweep, Sources(self.document, dict.fromkeys(given, at)), settings


def read_study(path_or_name: str | Path) -> StudyFile:
    """Read a study file, or a shipped study by its bare name.

    Raises:
        StudyErrors: The file cannot be read or does not contain a study.
    """
    document = _read(str(path_or_name))
    study, errors = parse_study(document)
    if study is None:
        raise StudyErrors(errors)
    return StudyFile(document, study, errors)


def read_study_text(path_or_name: str | Path) -> str:
    """Return the text of a study file, or of a shipped study by its bare name.

    Raises:
        OSError: There is no such file, or it cannot be read.
    """
    name = str(path_or_name)
    place = files(SHIPPED) / f"{name}.yaml" if name in list_shipped_studies() else Path(name)
    return place.read_text(encoding="utf-8")


def _read(name: str) -> Document:
    shipped = list_shipped_studies()
    if name in shipped:
        return parse_document(read_study_text(name), f"{SHIPPED}/{name}.yaml")
    path = Path(name)
    if not path.exists():
        close = find_nearest(path.stem, shipped)
        hint = f"did you mean the shipped study {close[0]!r}?" if close else f"shipped studies: {', '.join(shipped)}"
        raise StudyErrors([StudyError(Place(name), "no such file", f"({hint})")])
    return read_document(path)


def _build_trials(
    variants: Sequence[Variant], seeds: Sequence[int], by_name: Mapping[str, Draft], base: Base
) -> tuple[list[Trial], dict[str, list[Variant]], list[StudyError]]:
    """Return the trials, the variants by trial id, and an error for each variant whose code cannot be read."""
    trials, groups, errors = [], dict[str, list[Variant]](), []
    for variant in variants:
        try:
            own = _build_variant_trials(variant, seeds)
        except PartError as error:
            place = base.locate(by_name[variant.name], error.key)
            errors.append(StudyError(place, f"variant {variant.name!r}: {error.rule}", error.way_out))
            continue
        except DataErrors:  # `check_row_files` reports it
            continue
        trials += own
        for trial in own:
            groups.setdefault(trial.id, []).append(variant)
    return trials, groups, errors


def _build_variant_trials(variant: Variant, seeds: Sequence[int]) -> list[Trial]:
    trials = []
    config, identity, key = None, Identity(), ""
    for seed in seeds:
        seeded = add_trial_seed(variant.config, seed)
        if seeded is not config:  # seeds share settings that do not contain the seed
            config, identity = seeded, identify_trial(seeded)
            key = hash_plain(identity)
        trials.append(Trial(make_trial_id(key, seed), variant.name, seed, seeded, add_seed(identity, seed)))
    return trials
