"""Find named parts without importing them.

A registry maps a name to ``"package.module:attribute"``. A part is imported when it is first used, so listing names
costs nothing. Other packages add parts through an entry point of the registry's group, without a fork. If two parts
have the same name, this is an error that names both, never a silent override.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(ValueError):
    """No registered part has this name."""


class BrokenPartError(ImportError):
    """A registered part cannot be imported; the message gives the part, the error and the way out."""


def suggest_similar(name: str, names: Iterator[str] | list[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the most similar of the names, or an empty string."""
    close = find_nearest(name, names)
    return f" (did you mean {close[0]!r}?)" if close else ""


def find_nearest(name: str, names: Iterable[str], most: int = 1) -> list[str]:
    """Return at most `most` names that are similar to a mistyped one, the most similar first."""
    return difflib.get_close_matches(name, list(names), n=most, cutoff=0.55)


class Registry(Generic[T]):
    """Lazy table of the parts of one kind.

    Args:
        kind: Name of the kind in the singular, for errors ("voting rule").
        group: Entry-point group through which other packages add parts.
        builtin: Name to ``"module:attribute"`` of the parts shipped here.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)

    @cached_property
    def targets(self) -> dict[str, str]:
        """Every known name and its ``"module:attribute"``.

        Raises:
            ValueError: Two packages register one name.
        """
        table = dict(self._builtin)
        for point in entry_points(group=self.group):
            target = f"{point.module}:{point.attr}"
            if table.get(point.name, target) != target:
                raise ValueError(
                    f"two parts claim the {self.kind} name {point.name!r}: {table[point.name]} and {target}; "
                    "uninstall one of them or ask its author to rename it"
                )
            table[point.name] = target
        return table

    def names(self) -> list[str]:
        """Return the known names, built-in ones first."""
        return list(self.targets)

    def check(self, name: str) -> str:
        """Return ``name`` if it is known.

        Raises:
            UnknownNameError: The name is unknown; the message lists the known names.
        """
        if name not in self.targets:
            raise UnknownNameError(
                f"unknown {self.kind} {name!r}{suggest_similar(name, self.names())}; known: {', '.join(self.names())}"
            )
        return name

    def target(self, name: str) -> str:
        """Return ``"module:attribute"`` of the part, without importing it."""
        return self.targets[self.check(name)]

    def get(self, name: str) -> T:
        """Import and return the part.

        Raises:
            UnknownNameError: No part has this name.
            BrokenPartError: The registered part cannot be imported.
        """
        target = self.target(name)
        try:
            return resolve_name(target)  # type: ignore[no-any-return]
        except Exception as error:  # the module of another package can raise any exception at import
            raise BrokenPartError(
                f"the {self.kind} {name!r} is registered as {target}, which cannot be imported "
                f"({type(error).__name__}: {error}); install what it needs, or uninstall the package that registers it"
            ) from error
