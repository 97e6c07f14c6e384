"""A plan: the trials that answer a study's question, ready to run. Plain data, picklable, and JSON both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter

from capo_bench.study.gpu_time import MACHINE, Machine
from capo_bench.study.keys import value_at, with_value
from trainers.config import TrialConfig
from trainers.methods import METHODS


@lru_cache(maxsize=4096)  # most seeds of a variant share its settings, and to validate them takes long
def _read_config(text: str) -> TrialConfig:
    return TrialConfig.model_validate(json.loads(text))


Config = Annotated[TrialConfig, BeforeValidator(lambda data: _read_config(json.dumps(data)))]


@dataclass(frozen=True)
class Variant:
    """One row of the study: its name, what it sets by dotted key, and the settings that result."""

    name: str
    overrides: Mapping[str, Any]
    config: Config


@dataclass(frozen=True)
class Trial:
    """One variant under one seed, which is that of training and evaluation.

    `identity` are the parts that decide the result (see `capo_bench.study.identity`), `id` is their hash.
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
        """Return the trial that `as_json` wrote.

        Raises:
            pydantic.ValidationError: Something is missing, or its settings are not valid.
        """
        return _TRIAL.validate_python(data)


@dataclass(frozen=True)
class Plan:
    """The trials of one profile of a study.

    Attributes:
        file: The study file, as the user named it.
        start: Variant that is the untrained start, if there is one.
        within: Dotted keys that are the same in all that is compared (`baseline_of`).
        machine: What an estimate takes for granted; no part of what was run, and not kept with it.
        metrics: ``task/metric``; the first is the primary one.
        variants: In the order of the file; all of them, whatever ``--only`` picked.
        trials: Variant by variant, seeds inside; only those that ``--only`` picked.
        looks: Seeds of a variant at each look at the results, ascending: those without an answer yet get more. Empty
            where seeds are fixed.
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
        """Return the variant that a variant is compared with; None where there is none. A baseline is its own."""
        return self._counterpart(self.baseline, name)

    def start_of(self, name: str) -> str | None:
        """Return the untrained start of a variant; None where there is none. A start is its own."""
        return None if self.start is None else self._counterpart(self.start, name)

    def _counterpart(self, role: str, name: str) -> str | None:
        """Return the variant that is `role` but for the keys of `within`, which are those of the variant `name`.

        Keys of sections that the method of `role` does not use make no difference.
        """
        config = self.variant(role).config
        matter = [key for key in self.within if uses(config, key)]
        if not matter:
            return role
        wanted, own = (variant.model_dump(mode="json") for variant in (config, self.variant(name).config))
        for key in matter:
            parts = key.split(".")
            wanted = with_value(wanted, parts, value_at(own, parts))
        return next(
            (variant.name for variant in self.variants if variant.config.model_dump(mode="json") == wanted), None
        )

    @property
    def first_look(self) -> Plan:
        """The plan with the trials of the first look only."""
        return self.with_seeds(dict.fromkeys((variant.name for variant in self.variants), self.looks[0]))

    def with_seeds(self, count: Mapping[str, int]) -> Plan:
        """Return the plan with only the first seeds of each variant: as many as `count` says by its name."""
        return replace(self, trials=tuple(trial for trial in self.trials if trial.seed < count[trial.variant]))

    def variant(self, name: str) -> Variant:
        """Return the variant of a name.

        Raises:
            KeyError: There is none.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain data; of the study file its name alone, not where it lay."""
        plain: dict[str, Any] = _PLAN.dump_python(self, mode="json", exclude={"machine"})
        return {**plain, "file": PurePath(self.file).name}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that `as_json` wrote.

        Raises:
            pydantic.ValidationError: Something is missing, or settings are not valid.
        """
        return _PLAN.validate_python(data)


_TRIAL, _PLAN = TypeAdapter(Trial), TypeAdapter(Plan)


def uses(config: TrialConfig, key: str) -> bool:
    """Whether a dotted key decides anything under the method of these settings."""
    return METHODS.get(config.method).heeds(key)
