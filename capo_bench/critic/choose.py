"""From the command line to a critic's settings: a registered name, or the base critic of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from capo_bench.critic.prm import PRM, PrmParams
from capo_bench.study.errors import Place, StudyError, StudyErrors
from capo_bench.study.explain import explain
from capo_bench.study.keys import set_value
from capo_bench.study.load import list_shipped_studies, load_plan, read_study
from capo_bench.study.select import read_setting
from capo_bench.study.yamlfile import TreePath
from evals.registry import UnknownNameError, suggest_similar
from trainers.config import make_default_critic
from trainers.critics import CRITICS
from trainers.critics.base import CriticParams


def choose_critic(name: str, profile: str, sets: Sequence[str]) -> CriticParams:
    """Return a critic's settings.

    Args:
        name: A registered critic, ``prm``, a study file, or a shipped study, whose base critic is taken.
        profile: The study's profile; what it sets for the critic applies.
        sets: ``"key=value"`` with a YAML value, on top.

    Raises:
        StudyErrors: All that is wrong with the name, the study or the settings.
    """
    tree = {"name": name} if name in (PRM, *CRITICS.names()) else _read_critic_of_study(name, profile)
    written = dict[str, str]()
    for text in sets:
        setting, *more = read_setting(text)
        if more:
            rule = f"{setting.key} has {len(more) + 1} values; a critic takes one"
            raise StudyErrors([StudyError(setting.source.place(), rule, "measure one after another")])
        tree = set_value(tree, setting.key.split("."), setting.value)
        written[setting.key] = text

    def locate(path: TreePath) -> Place:
        dotted = ".".join(str(part) for part in path)
        given = next((text for key, text in written.items() if f"{dotted}.".startswith(f"{key}.")), None)
        return Place(name if given is None else f"--set {given}")

    return _validate(tree, locate)


def _read_critic_of_study(name: str, profile: str) -> dict[str, Any]:
    if name not in list_shipped_studies() and not Path(name).exists():
        names = [*CRITICS.names(), PRM, *list_shipped_studies()]
        way_out = f"critics: {', '.join([*CRITICS.names(), PRM])}; shipped studies: {', '.join(list_shipped_studies())}"
        rule = f"no critic and no study {name!r}{suggest_similar(name, names)}"
        raise StudyErrors([StudyError(Place(name), rule, way_out)])
    load_plan(name, profile)  # says all that is wrong with the study
    study = read_study(name).study
    tree: dict[str, Any] = study.base
    settings = study.profiles[profile].set if profile in study.profiles else {}
    for key in sorted(settings, key=lambda key: key.count(".")):
        tree = set_value(tree, key.split("."), settings[key])
    return dict(tree.get("critic") or make_default_critic().model_dump(mode="json"))


def _validate(tree: dict[str, Any], locate: Any) -> CriticParams:
    try:
        model = PrmParams if tree["name"] == PRM else CRITICS.get(tree["name"])
    except UnknownNameError as error:
        rule, _, way_out = str(error).partition("; ")
        raise StudyErrors([StudyError(locate(("name",)), rule, way_out)]) from error
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise StudyErrors([item for _, item in explain(error, tree, [model], locate)]) from error
