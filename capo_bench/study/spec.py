"""What a study file may say."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from capo_bench.study.gpu_time import MACHINE, Machine
from evals.metrics import metric_named
from evals.settings import Strict

DEFAULT_PROFILE = "quick"


def _metric(text: str) -> str:
    task, slash, name = text.partition("/")
    if not (task and slash):
        raise ValueError(f"metric {text!r} names no task; write task/metric, e.g. coins_test/accuracy")
    metric_named(name)
    return text


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
VariantName = Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=120)]
Metric = Annotated[str, AfterValidator(_metric)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[
    Annotated[list[Seed], Field(min_length=1), Tag("a list")] | Annotated["SeedLooks", Tag("a sequence")],
    Discriminator(lambda value: "a sequence" if isinstance(value, dict | SeedLooks) else "a list"),
]
Values = Annotated[list[Any], Field(min_length=1)]
Swept = dict[str, Values]


class SeedLooks(Strict):
    """Seeds that are added until the question is answered: ``{from: 3, to: 12, looks: [3, 5, 8, 12]}``.

    Looks ascend, from the fewest seeds of every variant to the most, which are the numbers 0 to `most` − 1.
    """

    fewest: int = Field(alias="from", ge=2)
    most: int = Field(alias="to", ge=2, le=100)
    looks: list[int]

    @field_validator("most")
    @classmethod
    def _not_below_from(cls, most: int, info: ValidationInfo) -> int:
        fewest = info.data.get("fewest", 0)
        if fewest > most:
            raise ValueError(f"{most} is below from, {fewest}; write the smaller number of seeds in from")
        return most

    @field_validator("looks")
    @classmethod
    def _from_first_to_last(cls, looks: list[int], info: ValidationInfo) -> list[int]:
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
    """One more variant: the base with some keys set."""

    name: VariantName
    set: dict[str, Any] = Field({})


class Sweep(Strict):
    """What varies.

    Attributes:
        matrix: Dotted key to its values; every combination is a variant.
        zip: Dotted key to its values, all lists of one length; the i-th values go together. Combined with every row
            of `matrix`.
        exclude: Combinations that are left out: a variant goes if it has all the values of one entry.
        include: Further variants beside them.
        seeds: Each variant is a trial under each seed, or under as many as it takes.
        metrics: Metrics as ``task/metric``; the first is the primary one.
        baseline: Variant that the others are compared with.
        start: Variant that is the untrained start, to show gains over.
        within: Dotted keys that are the same in all that is compared: a variant is compared with the one that has its
            values there and is the baseline (the start) otherwise.
        machine: GPUs, throughputs, lengths of texts and prices that `plan` works out hours and money from.
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
        """Every seed that a trial may have."""
        return list(range(self.seeds.most)) if isinstance(self.seeds, SeedLooks) else self.seeds

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds at each look; empty where the seeds are fixed."""
        return tuple(self.seeds.looks) if isinstance(self.seeds, SeedLooks) else ()

    @field_validator("seeds", "metrics", "within")
    @classmethod
    def _each_once(cls, items: list[Any] | SeedLooks) -> list[Any] | SeedLooks:
        if isinstance(items, SeedLooks):
            return items
        twice = [item for item in dict.fromkeys(items) if items.count(item) > 1]
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} appears more than once; name each once")
        return items

    @field_validator("zip")
    @classmethod
    def _equal_lengths(cls, table: Swept) -> Swept:
        lengths = {key: len(values) for key, values in table.items()}
        if len(set(lengths.values())) > 1:
            each = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
            raise ValueError(f"lists of unequal length: {each}; zipped values go together, give each key as many")
        return table

    @field_validator("include")
    @classmethod
    def _names_differ(cls, items: list[Include]) -> list[Include]:
        names = [item.name for item in items]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two variants are named {name!r}; rename one")
        return items


class Profile(Sweep):
    """A size of the study: the keys given here replace the study's own; `set` changes the base of all variants."""

    set: dict[str, Any] = Field({})


class Study(Sweep):
    """A question, and the trials that answer it.

    Attributes:
        name: Names the study's folder of results.
        question: What the study asks, as a sentence.
        base: Settings (`TrialConfig`) that all variants begin with.
        profiles: Sizes of the study by name; without ``quick``, the study as written is the quick one.
    """

    name: Name
    question: Annotated[str, Field(min_length=1)]
    baseline: str
    base: dict[str, Any] = Field({})
    profiles: dict[str, Profile] = Field({})
