"""What a critic needs before it can be asked: a checker, its embedded model, its server, kept critiques."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from capo_bench.critic.prm import PrmParams
from capo_bench.run.shared_models import ensure_judge
from capo_bench.store.errors import RefusedError
from capo_bench.store.home import Home
from capo_bench.store.lock import wait_for_lock
from capo_bench.study.identity import judge_key, judge_kind
from trainers import Emit
from trainers.critics.base import Critic, CriticParams, Surroundings
from trainers.critics.cached import open_critic


def ensure_embedded_folder(params: CriticParams, home: Home, emit: Emit) -> Path | None:
    """Return the folder of the embedded model that settings name, first trained, by one study, if need be; or None."""
    judge = params.taught if isinstance(params, PrmParams) else params.embedded_critic
    if judge is None:
        return None
    lock = home.stage_lock(judge_kind(judge), judge_key(judge))
    with wait_for_lock(lock, lambda: False, lambda: emit({"kind": "stage", "stage": "waiting"})):
        return ensure_judge(judge, home, emit)


@contextmanager
def prepare_critic(params: CriticParams, home: Home, emit: Emit) -> Iterator[Path | None]:
    """Make ready what the critic needs, until the end of the context; yields `ensure_embedded_folder`.

    Raises:
        RunError: The critic cannot be served.
    """
    from capo_bench.run.serving import serve_critic
    from capo_bench.study.served import find_served_by

    embedded, critic = ensure_embedded_folder(params, home, emit), find_served_by(params)
    if critic is None:
        yield embedded
        return
    emit({"kind": "stage", "stage": f"{critic} is loading"})
    with serve_critic(critic, embedded, home.path / "cache" / "critic-server.log"):
        yield embedded


def check_checkers(params: CriticParams, checkers: Mapping[str, str | None], way_out: str) -> None:
    """Refuse a critic that asks a checker where one of what it judges (name to benchmark that checks) has none."""
    lacking = [name for name, checker in checkers.items() if checker is None]
    if params.asks_checker and lacking:
        have = "has" if len(lacking) == 1 else "have"
        problem = f"critic {params.name!r} asks the benchmark's step checker, and {', '.join(lacking)} {have} none"
        raise RefusedError([f"{problem}; {way_out}"])


def open_kept(params: CriticParams, surroundings: Surroundings, home: Home) -> Critic:
    """Return a critic whose critiques a results folder keeps; refuse one that cannot be opened."""
    try:
        return open_critic(params, surroundings, home.critiques)
    except (ImportError, ValueError) as error:
        raise RefusedError([f"critic {params.name!r} cannot be opened: {error}"]) from error
