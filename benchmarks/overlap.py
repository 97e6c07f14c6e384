"""How much of a slow critic's time a training step hides: critiques asked as rollouts end, or all at once, or awaited.

    python -m benchmarks.overlap [--steps 8] [--rounds 3] [--delay 0.4]

A server of its own process answers every request after `delay` seconds, as an endpoint on another machine would: it
takes none of this machine's time. Three ways, one after the other in each round, on the same rollouts: `eager` asks
about a rollout when its end token is sampled; `together` asks about all when the batch is known, and verifies
meanwhile; `awaited` asks and waits before anything else goes on. Prints the median step, critic_wait and the critic's
time of each, and the steps' ratios; the first step of each run is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from evals.coins import COINS
from trainers.backbones import BACKBONES
from trainers.capo import CapoTrainer
from trainers.cold_start import train_cold_start
from trainers.config import ColdStartConfig, TrialConfig
from trainers.criticised import CriticisedTrainer
from trainers.critics.base import Surroundings
from trainers.critics.critic_thread import CriticThread
from trainers.policy import train_policy
from trainers.run import TrainRun

WAYS = ("eager", "together", "awaited")


class Awaiting(CapoTrainer):
    """Waits for the critic as soon as it is asked."""

    def rollouts_known(self) -> None:
        super().rollouts_known()
        for _, asked in self.pending:
            asked.result()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    while head := await reader.readuntil(b"\r\n\r\n"):
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        body = json.loads(await reader.readexactly(length))
        await asyncio.sleep(delay)
        message = {"role": "assistant", "content": "Wrong steps: [1]"}
        choices = [{"index": i, "finish_reason": "stop", "message": message} for i in range(body.get("n", 1))]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        about = {"id": "0", "object": "chat.completion", "created": 0, "model": "slow"}
        data = json.dumps({**about, "choices": choices, "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()


def serve(link: Connection, delay: float) -> None:
    async def forever() -> None:
        server = await asyncio.start_server(lambda *pair: _answer(*pair, delay), "127.0.0.1", 0)
        link.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


def measured(run: TrainRun, way: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    run = replace(run, record=records.append)
    critic_thread = CriticThread(run.config.critic.build(Surroundings(COINS, 0)))
    critic_thread.eager = way == "eager"
    trainer: type[CriticisedTrainer] = Awaiting if way == "awaited" else CapoTrainer
    try:
        train_policy(run, trainer, "blank_lines", critic_thread=critic_thread)
    finally:
        critic_thread.close()
    return records[1:]


def row(way: str, records: Sequence[dict[str, Any]], slowest: float) -> str:
    step, wait, critic = (
        statistics.median(record[name] for record in records) for name in ("seconds", "critic_wait", "seconds_critique")
    )
    return f"| {way} | {step:.2f} s | {step / slowest:.2f} | {critic:.2f} s | {wait:.2f} s |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.4)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    link, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, arguments.delay), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{link.recv()}/v1"
    config = TrialConfig.model_validate(
        {
            "train": {"steps": arguments.steps, "prompts_per_step": 6, "learning_rate": 1e-12},
            "critic": {"name": "openai", "model": "slow", "base_url": url, "concurrency": 96},
            "credit": {"critiques": 4, "vote": "majority"},
        }
    )  # fmt: skip
    records: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_cold_start(BACKBONES.load("tiny"), ColdStartConfig(steps=60), folder / "start", lambda record: None)
        for number in range(arguments.rounds):
            for way in WAYS:
                out = folder / f"{way}-{number}"
                run = TrainRun(
                    config=config,
                    seed=number,
                    start=str(folder / "start"),
                    out=out / "checkpoints",
                    model=out / "model",
                    rollouts=out / "rollouts",
                    record=lambda record: None,
                )
                records[way] += measured(run, way)
    server.terminate()
    slowest = statistics.median(record["seconds"] for record in records["awaited"])
    print(f"96 rollouts a step, 4 critiques in one request, {arguments.delay} s a request, 96 at a time")
    print("| asked | step | step / awaited | critic's time | critic_wait |\n|---|---|---|---|---|")
    for way in WAYS:
        print(row(way, records[way], slowest))


if __name__ == "__main__":
    main()
