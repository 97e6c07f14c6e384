"""A server on 127.0.0.1 that speaks OpenAI's chat completions, as a hosted API does, in words that one can foretell."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "critic-1"


def words(prompt: str, seed: int | None) -> str:
    """What the server says to a prompt with a seed; without one, its greedy reply."""
    return "draw " + hashlib.sha256(f"{prompt}|{seed}".encode()).hexdigest()[:8]


class ChatServer(ThreadingHTTPServer):
    """Answers with `say(prompt, seed)`, a choice's text or a whole choice as a dict.

    Settings:
        n_refused: Status for requests of n > 1, or 0: n is ignored; None: n is understood.
        key: The one that is accepted; None accepts any.
        longest: Longest prompt in characters; longer ones are refused with 400.

    What arrived is in `requests` (bodies) and `keys` (Authorization headers); `most` is the most at one time. It lists
    its model, whatever requests wait for `go`; `probes` counts who asked for that.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, say=words, n_refused=None, key=None, longest=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.say, self.n_refused, self.key, self.longest = say, n_refused, key, longest
        self.requests, self.keys = [], []
        self.most = self.now = self.probes = 0
        self.lock = threading.Lock()
        self.go = threading.Event()
        self.go.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def refuse(self, key):
        """Return status and reply to a wrong key, None to a right one."""
        if self.key is not None and key != f"Bearer {self.key}":
            return 401, error(f"Incorrect API key provided: {key}")
        return None

    def answer(self, body, key):
        """Return status and reply to a request."""
        if refusal := self.refuse(key):
            return refusal
        if body["model"] != MODEL:
            return 404, error(f"The model {body['model']} does not exist")
        prompt, n = body["messages"][0]["content"], body.get("n", 1)
        if self.longest is not None and len(prompt) > self.longest:
            return 400, error(f"This model's maximum context length is {self.longest} characters")
        if n > 1 and self.n_refused:
            return self.n_refused, error("n must be 1")
        seeds = [None if body.get("seed") is None else body["seed"] + place for place in range(n)]
        return 200, completion(
            prompt, [self.say(prompt, seed) for seed in (seeds if self.n_refused is None else seeds[:1])]
        )


def error(message):
    return {"error": {"message": message, "type": "invalid_request_error"}}


def completion(prompt, said):
    """A reply: 10 prompt tokens a word, half of them cached; 7 output tokens a choice."""
    choices = [
        {"index": place, "finish_reason": "stop", "message": {"role": "assistant", "content": one}}
        if isinstance(one, str)
        else {"index": place, "finish_reason": "stop", **one}
        for place, one in enumerate(said)
    ]
    read = 10 * len(prompt.split())
    usage = {
        "prompt_tokens": read,
        "completion_tokens": 7 * len(said),
        "total_tokens": read + 7 * len(said),
        "prompt_tokens_details": {"cached_tokens": read // 2},
    }
    return {"id": "c", "object": "chat.completion", "model": MODEL, "choices": choices, "usage": usage}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append(body)
            server.keys.append(self.headers.get("Authorization"))
            server.now += 1
            server.most = max(server.most, server.now)
        server.go.wait(20)
        status, reply = server.answer(body, self.headers.get("Authorization"))
        with server.lock:
            server.now -= 1
        self.send(status, reply)

    def do_GET(self):
        with self.server.lock:
            self.server.probes += 1
        listed = 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        self.send(*(self.server.refuse(self.headers.get("Authorization")) or listed))

    def send(self, status, reply):
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):  # the client has given up
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def serving(server):
    """Run a server on a thread until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
