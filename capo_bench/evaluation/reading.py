"""From the command line to a request; all errors are reported at once, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from capo_bench.evaluation.models import Named, find_model, find_similar_trials
from capo_bench.evaluation.request import EvaluationRequest, Judge
from capo_bench.store.errors import RefusedError
from capo_bench.store.evaluations import find_evaluation
from capo_bench.store.home import Home
from capo_bench.study.errors import StudyErrors
from evals.models.base import ModelError
from evals.models.spec import ModelSpec, read_spec
from evals.registry import UnknownNameError, suggest_similar
from evals.tasks import SUITES, limit_of, list_task_files, list_task_names
from evals.verify.answers import AnswerStyle

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """The options on the command line; None for those not given."""

    model: str
    suites: tuple[str, ...]
    tasks: tuple[str, ...]
    held: dict[str, Any]
    sampling: dict[str, Any]
    greedy: bool
    samples: int | None
    answers: AnswerStyle | None
    limit: int | None
    seed: int
    data_dir: Path | None
    critic: str | None
    sets: tuple[str, ...]
    profile: str
    critiques: int | None
    vote: str | None
    at_least: int | None
    max_abstained: float
    max_failed: float
    rescore: bool


def read_request(options: Options, home: Home) -> EvaluationRequest:
    """Return the requested evaluation.

    Raises:
        RefusedError: All errors of the options.
    """
    flaws: list[str] = []
    names = (*options.suites, *options.tasks)
    # With tasks, the word names a model, unless it is an evaluation's id or folder.
    stored = _try(
        flaws, lambda: options.rescore and find_evaluation(options.model, home, by_name=not names) is not None
    )
    model = Named(options.model, {}) if stored else _try(flaws, lambda: _find_model(options, home))
    spec = _try(flaws, lambda: _read_spec(options, model))
    flaws += _check_names(options)
    if not names and not stored:
        flaws.append(f"nothing to evaluate on: name suites with --suite ({', '.join(SUITES)}) or tasks with --task")
    if stored:
        flaws += _check_useless(options, names)
    if options.data_dir is not None and not options.data_dir.is_dir():
        flaws.append(f"--data-dir {options.data_dir}: no such folder; name the folder that holds math500/ and so on")
    judge = _try(flaws, lambda: _judge(options))
    if flaws:
        raise RefusedError(flaws)
    assert spec is not None
    return EvaluationRequest(
        word=options.model,
        spec=spec,
        names=names,
        tasks=list_task_names(names),
        seed=options.seed,
        limit=options.limit or limit_of(names),
        data_dir=options.data_dir,
        greedy=options.greedy,
        samples=options.samples,
        answers=options.answers,
        sampling={name: value for name, value in options.sampling.items() if value is not None},
        judge=judge,
        most_failed=options.max_failed,
    )


def _check_useless(options: Options, names: Sequence[str]) -> list[str]:
    """Return an error if options would change the completions of a stored evaluation."""
    sampling = any(value is not None for value in options.sampling.values())
    given = {
        **{"--task or --suite": names, "-k": options.samples is not None, "--no-greedy": not options.greedy},
        "--answers": options.answers,
        **{"--limit": options.limit, "its sampling": sampling},
    }
    useless = ", ".join(name for name, value in given.items() if value)
    way_out = f"its completions are stored; leave out {useless}, or evaluate a model again"
    return [f"--rescore {options.model} has its own tasks and samples: {way_out}"] if useless else []


def _try(flaws: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (ModelError, RefusedError, StudyErrors, UnknownNameError) as error:
        flaws += str(error).splitlines()
        return None


def _find_model(options: Options, home: Home) -> Named:
    """Return the model; refuse a name that is neither a folder nor a repository. The hub is asked later."""
    if options.held.get("backend") == "openai":
        return Named(options.model, {})
    model = find_model(options.model, home)
    like_a_path = model.model.startswith((".", "/", "~")) or model.model.count("/") > 1
    here = Path(model.model).expanduser().exists()
    if like_a_path and not here:
        way_out = f"name a model's folder, a repository id, or a trial of {home.path}"
        raise RefusedError([f"MODEL {options.model}: no such folder; {way_out}"])
    if model.trial is None and not here and (close := find_similar_trials(model.model, home)) is not None:
        hint = f"did you mean {', '.join(close)}?" if close else "`capo-bench status` names the trials"
        raise RefusedError([f"MODEL {options.model}: no folder, and no trial of {home.path} begins so; {hint}"])
    return model


def _read_spec(options: Options, model: Named | None) -> ModelSpec:
    """Return the specification; without a model it only serves to find other errors."""
    name, settings = (options.model, {}) if model is None else (model.model, model.settings)
    return read_spec(model=name, **{**settings, **{key: value for key, value in options.held.items() if value}})


def _check_names(options: Options) -> list[str]:
    names = {"suite": list(SUITES), "task": list(list_task_files())}
    given = [("suite", name) for name in options.suites] + [("task", name) for name in options.tasks]
    return [
        f"--{kind} {name}: no {kind} {name!r}{suggest_similar(name, names[kind])}; known: {', '.join(names[kind])}"
        for kind, name in given
        if name not in names[kind]
    ]


def _judge(options: Options) -> Judge | None:
    settings: Sequence[tuple[str, Any]] = (
        *(("--set", options.sets), ("--critiques", options.critiques)),
        *(("--vote", options.vote), ("--at-least", options.at_least)),
    )
    if options.critic is None:
        useless = [name for name, value in settings if value]
        if useless:
            raise RefusedError([f"{', '.join(useless)} without --critic: name the critic, or leave out the rest"])
        return None
    from pydantic import ValidationError

    from capo_bench.critic.choose import choose_critic
    from capo_bench.critic.quality import Vote
    from trainers.config import CreditConfig
    from trainers.credit.votes import VOTES
    from trainers.teaching import add_trial_seed

    params = add_trial_seed(choose_critic(options.critic, options.profile, options.sets), options.seed)
    vote = options.vote or "majority"
    critiques = options.critiques or (1 if VOTES.get(vote).asks_one else 4)
    try:
        CreditConfig(vote=vote, at_least=options.at_least, critiques=critiques)
    except ValidationError as error:
        rules = [problem["msg"].removeprefix("Value error, ") for problem in error.errors(include_url=False)]
        raise RefusedError([f"--vote {vote} --critiques {critiques}: {line}" for line in rules]) from error
    return Judge(params, Vote(vote, options.at_least), critiques, options.max_abstained)
