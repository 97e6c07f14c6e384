"""The schema of study files."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from capo_bench.study.gpu_time import MACHINE, Machine
from evals.metrics import find_metric
from evals.settings import Strict

DEFAULT_PROFILE = "quick"


def _check_metric(text: str) -> str:
    task, slash, name = text.partition("/")
    if not (task and slash):
        raise ValueError(f"metric {text!r} names no task; write task/metric, e.g. coins_test/accuracy")
    find_metric(name)
    return text


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
VariantName = Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=120)]
Metric = Annotated[str, AfterValidator(_check_metric)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[
    Annotated[list[Seed], Field(min_length=1), Tag("a list")] | Annotated["SeedLooks", Tag("a sequence")],
    Discriminator(lambda value: "a sequence" if isinstance(value, dict | SeedLooks) else "a list"),
]
Values = Annotated[list[Any], Field(min_length=1)]
Swept = dict[str, Values]


class SeedLooks(Strict):
    """A sequence of looks that adds seeds until the question is answered: ``{from: 3, to: 12, looks: [3, 5, 8, 12]}``.

    Looks are increasing numbers of seeds per variant, from `fewest` to `most`. The seeds are 0 to `most` − 1.
    """

    fewest: int = Field(alias="from", ge=2)
    most: int = Field(alias="to", ge=2, le=100)
    looks: list[int]

    @field_validator("most")
    @classmethod
    def _check_most(cls, most: int, info: ValidationInfo) -> int:
        fewest = info.data.get("fewest", 0)
        if fewest > most:
            raise ValueError(f"{most} is below from, {fewest}; write the smaller number of seeds in from")
        return most

    @field_validator("looks")
    @classmethod
    def _check_looks(cls, looks: list[int], info: ValidationInfo) -> list[int]:
        if len(looks) < 2:
            raise ValueError(f"{looks} is no sequence of looks; name two or more, or fixed seeds, e.g. seeds: [0, 1]")
        if any(later <= earlier for earlier, later in pairwise(looks)):
            raise ValueError(f"{looks} does not increase; write each number of seeds once, the smallest first")
        for number, name, key in ((looks[0], "first", "fewest"), (looks[-1], "last", "most")):
            bound, written = info.data.get(key), cls.model_fields[key].alias
            if bound is not None and number != bound:
                raise ValueError(f"the {name} look is at {number} seeds but {written} is {bound}; make them equal")
        return looks


class Include(Strict):
    """An additional variant: the base with some keys set."""

    name: VariantName
    set: dict[str, Any] = Field({})


class Sweep(Strict):
    """The varying part of a study.

    Attributes:
        matrix: Values by dotted key; every combination is a variant.
        zip: Values by dotted key, all lists of the same length; the i-th values belong together. They are combined with
            every row of `matrix`.
        exclude: Combinations that are removed: a variant is removed if it has all values of one entry.
        include: Additional variants.
        seeds: Each variant has one trial per seed; a sequence of looks adds seeds as needed.
        metrics: Metrics as ``task/metric``; the first is the primary metric.
        baseline: Variant that the others are compared with.
        start: Variant that is the untrained starting model, used to show gains.
        within: Dotted keys that must be equal in compared variants: a variant is compared with the variant that has the
            same values of these keys and otherwise equals the baseline (the start).
        machine: GPUs, throughputs, text lengths and prices from which `plan` computes hours and money.
    """

    matrix: Swept = Field({})
    zip: Swept = Field({})
    exclude: list[dict[str, Any]] = Field([])
    include: list[Include] = Field([])
    seeds: Seeds = Field([0, 1, 2])
    metrics: list[Metric] = Field(["coins_test/accuracy"], min_length=1)
    baseline: str = ""
    start: str | None = None
    within: list[str] = Field([])
    machine: Machine = MACHINE

    @property
    def seed_numbers(self) -> list[int]:
        """All seeds that a trial can have."""
        return list(range(self.seeds.most)) if isinstance(self.seeds, SeedLooks) else self.seeds

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds at each look; empty if the seeds are fixed."""
        return tuple(self.seeds.looks) if isinstance(self.seeds, SeedLooks) else ()

    @field_validator("seeds", "metrics", "within")
    @classmethod
    def _check_unique(cls, items: list[Any] | SeedLooks) -> list[Any] | SeedLooks:
        if isinstance(items, SeedLooks):
            return items
        twice = [item for item in dict.fromkeys(items) if items.count(item) > 1]
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} appears more than once; name each once")
        return items

    @field_validator("zip")
    @classmethod
    def _check_lengths(cls, table: Swept) -> Swept:
        lengths = {key: len(values) for key, values in table.items()}
        if len(set(lengths.values())) > 1:
            each = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
            raise ValueError(f"lists of unequal length: {each}; zipped values go together, give each key as many")
        return table

    @field_validator("include")
    @classmethod
    def _check_names(cls, items: list[Include]) -> list[Include]:
        names = [item.name for item in items]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two variants are named {name!r}; rename one")
        return items


class Profile(Sweep):
    """A size of the study: its keys replace those of the study, and `set` changes the base of all variants."""

    set: dict[str, Any] = Field({})


class Study(Sweep):
    """A question, and the trials that answer it.

    Attributes:
        name: Name of the study's results folder.
        question: The question of the study, as a sentence.
        base: Settings (`TrialConfig`) that all variants start from.
        profiles: Sizes of the study by name; without ``quick``, the study itself is the quick profile.
    """

    name: Name
    question: Annotated[str, Field(min_length=1)]
    baseline: str
    base: dict[str, Any] = Field({})
    profiles: dict[str, Profile] = Field({})
