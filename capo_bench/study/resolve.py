"""Convert drafts to variants with validated settings, and collect the errors of all drafts without duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from capo_bench.study.errors import Place, StudyError
from capo_bench.study.expand import Draft, KeySetting, Source
from capo_bench.study.explain import explain
from capo_bench.study.keys import get_value, set_value
from capo_bench.study.plan import Variant
from capo_bench.study.yamlfile import TreePath
from trainers.config import TrialConfig


class Base:
    """The settings that all variants start from, and where each of them was written.

    They are the study's `base`, located at `source`, changed by the settings of the profile and the command line.
    """

    def __init__(self, tree: dict[str, Any], source: Source, settings: Sequence[KeySetting]) -> None:
        self.tree = apply(tree, settings)
        self._source = source
        self._settings = sort_settings(settings)

    def locate(self, draft: Draft, path: TreePath) -> Place:
        """Return where the value at `path` of a draft's settings was written.

        An error about a whole section is placed at the last setting in it: the draft's own, else one for all variants.
        """
        for setting in reversed([*self._settings, *sort_settings(draft.settings)]):
            key = tuple(setting.key.split("."))
            if path[: len(key)] == key:
                return setting.source.place(path[len(key) :])
        for settings in (draft.settings, self._settings):
            inside = [item.source.place() for item in settings if tuple(item.key.split("."))[: len(path)] == path]
            if inside and path:
                return max(inside, key=lambda place: place.line or 0)
        return self._source.place(path)


def sort_settings(settings: Sequence[KeySetting]) -> list[KeySetting]:
    """Return settings in the order of application: a section before the keys inside it."""
    return sorted(settings, key=lambda setting: setting.key.count("."))


def apply(tree: dict[str, Any], settings: Sequence[KeySetting]) -> dict[str, Any]:
    """Return a copy of `tree` with the dotted keys replaced."""
    for setting in sort_settings(settings):
        tree = set_value(tree, setting.key.split("."), setting.value)
    return tree


def resolve(drafts: Sequence[Draft], base: Base) -> tuple[list[Variant], list[StudyError]]:
    """Return the variants with valid settings, and the errors of the other drafts."""
    variants: list[Variant] = []
    errors: dict[str, tuple[StudyError, list[str]]] = {}
    for draft in drafts:
        tree = apply(base.tree, draft.settings)
        try:
            variants.append(Variant(draft.name, draft.overrides, TrialConfig.model_validate(tree)))
        except ValidationError as error:
            for path, item in explain(error, tree, [TrialConfig], partial(base.locate, draft)):
                _, names = errors.setdefault(str(item), (item, []))
                if isinstance(get_value(tree, path), dict):
                    names.append(draft.name)
    return variants, [_add_names(error, names) for error, names in errors.values()]


def _add_names(error: StudyError, names: Sequence[str]) -> StudyError:
    """Add the names of the variants to an error about several settings, because the rule does not show them."""
    if not names:
        return error
    shown = ", ".join(repr(name) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return replace(error, rule=f"variant{'s' if len(names) > 1 else ''} {shown}: {error.rule}")
