"""What the endpoint's tests share: a model behind a server of the tests, and one batch through it."""

from __future__ import annotations

import asyncio

from chat_server import MODEL, words

from evals.models.base import Sampling
from evals.models.draws import draw_seed
from evals.models.open import open_model
from evals.models.spec import read_spec

SAMPLING = Sampling(1.0, 1.0, 1024)


def opened(url, **settings):
    given = {"model": MODEL, "backend": "openai", "base_url": url, "template": "message", **settings}
    return open_model(read_spec(**given))


def ask(model, ask_it):
    """Return what `ask_it(model)` gives, and close the model."""

    async def use():
        try:
            return await ask_it(model)
        finally:
            await model.close()

    return asyncio.run(use())


def complete(url, prompts, n, sampling=SAMPLING, *, seed=0, first=0, **settings):
    """Ask for one batch and close."""
    return ask(opened(url, **settings), lambda model: model.complete(prompts, n, sampling, seed=seed, first=first))


def texts(rows):
    return [[completion.text for completion in row] for row in rows]


def ends(rows):
    return [[completion.end for completion in row] for row in rows]


def drawn(prompt, indices, seed=0):
    """What the server says to the draws of a prompt."""
    return [words(prompt, draw_seed(seed, prompt) + index) for index in indices]
