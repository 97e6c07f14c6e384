"""What the endpoint's tests share: its settings for a server of the tests, and one batch through it."""

from __future__ import annotations

import asyncio

from chat_server import MODEL

from trainers.critics.endpoint import EndpointParams
from trainers.critics.endpoint_backend import Endpoint


def params(url, **changes):
    return EndpointParams.model_validate({"name": "openai", "model": MODEL, "base_url": url, **changes})


def complete(url, prompts, n, first=0, greedy=False, **changes):
    """Ask for one batch and close."""

    async def ask():
        backend = Endpoint.open(params(url, **changes))
        try:
            return await backend.complete(prompts, n, first=first, greedy=greedy)
        finally:
            await backend.close()

    return asyncio.run(ask())


def texts(rows):
    return [[reply.text for reply in row] for row in rows]


def failures(rows):
    return [[reply.failure for reply in row] for row in rows]
