"""A server with the API of OpenAI's chats whose model knows the labels: it finds the solution in the prompt."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from evals.critics.labels import LabelledSolution
from trainers.credit.prompt import critique_prompt

Write = Callable[[LabelledSolution, int], str]


def verdict(solution: LabelledSolution, index: int) -> str:
    """Write the list that the prompt asks for."""
    return f"I looked at it.\nWrong steps: {[step + 1 for step in sorted(solution.labels.wrong)]}"


class LabelServer:
    """Answers by the labels; after `fail_after` requests with 500.

    Attributes:
        url: Where it is.
        requests: What was asked, in order: the number of replies wanted.
    """

    def __init__(self, solutions: Sequence[LabelledSolution], write: Write = verdict) -> None:
        self._known = {critique_prompt(s.problem.prompt, s.steps): s for s in solutions}
        self._write = write
        self._lock = threading.Lock()
        self.fail_after: int | None = None
        self.requests: list[int] = []
        self.url = ""

    def reply(self, asked: dict[str, object]) -> dict[str, object] | None:
        """Return the body of the reply; None fails."""
        n = int(asked.get("n", 1))
        with self._lock:
            if self.fail_after is not None and len(self.requests) >= self.fail_after:
                return None
            self.requests.append(n)
        solution = self._known[asked["messages"][-1]["content"]]
        choices = [
            {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": self._write(solution, i)}}
            for i in range(n)
        ]
        usage = {"prompt_tokens": 100, "completion_tokens": 10 * n, "total_tokens": 100 + 10 * n}
        base = {"id": "1", "object": "chat.completion", "created": 0, "model": "labels"}
        return {**base, "choices": choices, "usage": usage}


@contextmanager
def serving(server: LabelServer) -> Iterator[LabelServer]:
    """Serve while the context is open."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = server.reply(asked)
            text = json.dumps(body or {"error": {"message": "down"}}).encode()
            self.send_response(200 if body else 500)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # connections that come at once; more than these are reset

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of a client that went away."""

    http = Server(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
