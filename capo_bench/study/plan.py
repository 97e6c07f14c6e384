"""A plan: the trials that answer a study's question. Plain data that can be pickled and converted to and from JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter

from capo_bench.study.gpu_time import MACHINE, Machine
from capo_bench.study.keys import get_value, set_value
from trainers.config import TrialConfig
from trainers.methods import METHODS


@lru_cache(maxsize=4096)  # most seeds of a variant share settings, and validation is slow
def _read_config(text: str) -> TrialConfig:
    return TrialConfig.model_validate(json.loads(text))


Config = Annotated[TrialConfig, BeforeValidator(lambda data: _read_config(json.dumps(data)))]


@dataclass(frozen=True)
class Variant:
    """One row of the study: its name, its own settings by dotted key, and the resulting full settings."""

    name: str
    overrides: Mapping[str, Any]
    config: Config


@dataclass(frozen=True)
class Trial:
    """One variant with one seed, which is the seed of training and evaluation.

    `identity` are the parts that determine the result (see `capo_bench.study.identity`), and `id` is their hash.
    """

    id: str
    variant: str
    seed: int
    config: Config
    identity: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        plain: dict[str, Any] = _TRIAL.dump_python(self, mode="json")
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Return the trial that `as_json` serialized.

        Raises:
            pydantic.ValidationError: A value is missing, or settings are invalid.
        """
        return _TRIAL.validate_python(data)


@dataclass(frozen=True)
class Plan:
    """The trials of one profile of a study.

    Attributes:
        file: The study file, as the user named it.
        start: Variant that is the untrained starting model, if there is one.
        within: Dotted keys that must be equal in compared variants (`baseline_of`).
        machine: Assumptions of an estimate; they are not part of the run and not stored.
        metrics: ``task/metric``; the first is the primary metric.
        variants: All variants in the order of the file, independent of ``--only``.
        trials: Trials that ``--only`` selects, variant by variant, seeds within.
        looks: Seeds per variant at each look at the results, ascending; undecided variants get the seeds of the next
            look. Empty if seeds are fixed.
    """

    study: str
    question: str
    file: str
    profile: str
    baseline: str
    start: str | None
    metrics: tuple[str, ...]
    variants: tuple[Variant, ...]
    trials: tuple[Trial, ...]
    within: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()
    machine: Machine = field(default=MACHINE, compare=False)

    def baseline_of(self, name: str) -> str | None:
        """Return the variant that a variant is compared with; None if there is none. A baseline is its own baseline."""
        return self._find_counterpart(self.baseline, name)

    def start_of(self, name: str) -> str | None:
        """Return the untrained starting variant of a variant; None if there is none. A start is its own start."""
        return None if self.start is None else self._find_counterpart(self.start, name)

    def _find_counterpart(self, role: str, name: str) -> str | None:
        """Return the variant that equals `role` except that its `within` keys have the values of the variant `name`.

        Keys of sections that the method of `role` does not use are ignored.
        """
        config = self.variant(role).config
        matter = [key for key in self.within if has_effect(config, key)]
        if not matter:
            return role
        wanted, own = (variant.model_dump(mode="json") for variant in (config, self.variant(name).config))
        for key in matter:
            parts = key.split(".")
            wanted = set_value(wanted, parts, get_value(own, parts))
        return next(
            (variant.name for variant in self.variants if variant.config.model_dump(mode="json") == wanted), None
        )

    @property
    def trial_ids(self) -> list[str]:
        """Ids of the trials, each once."""
        return list(dict.fromkeys(trial.id for trial in self.trials))

    @property
    def first_look(self) -> Plan:
        """The plan with only the trials of the first look."""
        return self.with_seeds(dict.fromkeys((variant.name for variant in self.variants), self.looks[0]))

    def with_seeds(self, count: Mapping[str, int]) -> Plan:
        """Return the plan with only the first seeds of each variant; `count` is their number by variant name."""
        return replace(self, trials=tuple(trial for trial in self.trials if trial.seed < count[trial.variant]))

    def variant(self, name: str) -> Variant:
        """Return the variant with this name.

        Raises:
            KeyError: There is no such variant.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain data; of the study file's path only the name is included."""
        plain: dict[str, Any] = _PLAN.dump_python(self, mode="json", exclude={"machine"})
        return {**plain, "file": PurePath(self.file).name}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that `as_json` serialized.

        Raises:
            pydantic.ValidationError: A value is missing, or settings are invalid.
        """
        return _PLAN.validate_python(data)


_TRIAL, _PLAN = TypeAdapter(Trial), TypeAdapter(Plan)


def has_effect(config: TrialConfig, key: str) -> bool:
    """Return whether a dotted key has any effect with the method of these settings."""
    return METHODS.get(config.method).heeds(key)
