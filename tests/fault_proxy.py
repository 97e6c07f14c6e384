"""A proxy that stands before any chat-completions server and spoils replies by plan.

`FaultProxy(upstream, [hang, None, status(500)])` hangs on the first request, passes the second on untouched and answers
the third with 500; requests after the plan pass. `rest` is the fault of all after the plan instead. What is not a
completion (a list of models) is answered with 404, or by the plan `probes`, the last of which goes on.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FaultProxy(ThreadingHTTPServer):
    """Spoils the replies of the server at `upstream` (the API's base URL).

    `seen` counts the requests, `probed` those for something else than a completion.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream, plan=(), rest=None, probes=()):
        super().__init__(("127.0.0.1", 0), _Spoiler)
        self.upstream = urlsplit(upstream)
        self.plan, self.rest = list(plan), rest
        self.probes = list(probes) or [status(404)]
        self.seen = self.probed = 0
        self.ended = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}{self.upstream.path}"

    def next_fault(self):
        with self._lock:
            self.seen += 1
            return self.plan.pop(0) if self.plan else self.rest

    def next_probe(self):
        with self._lock:
            self.probed += 1
            return self.probes.pop(0) if len(self.probes) > 1 else self.probes[0]

    def server_close(self):
        self.ended.set()
        super().server_close()


class _Spoiler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.meet(self.server.next_fault() or passed)

    def do_GET(self):
        self.meet(self.server.next_probe())

    def meet(self, fault):
        try:
            fault(self)
        except (BrokenPipeError, ConnectionResetError):  # the client has given up
            self.close_connection = True

    def forward(self, body=None):
        """Ask the real server; return status and reply."""
        upstream = http.client.HTTPConnection(self.server.upstream.netloc, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": self.headers.get("Authorization", "")}
        upstream.request("POST", self.path, body or self.body, headers)
        response = upstream.getresponse()
        data = response.read()
        upstream.close()
        return response.status, data

    def reply(self, status, data, headers=(), length=None):
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_):
        pass


def passed(request):
    """No fault."""
    request.reply(*request.forward())


def status(code, retry_after=None):
    """Answer with an error status."""

    def fault(request):
        headers = [] if retry_after is None else [("Retry-After", str(retry_after))]
        request.reply(code, json.dumps({"error": {"message": "not now"}}).encode(), headers)

    return fault


def hang(request):
    """Say nothing until the proxy ends."""
    request.server.ended.wait(60)
    request.close_connection = True


def drop(request):
    """Close the connection without a word."""
    request.close_connection = True


def reset(request):
    """Break the connection in mid-stream, with a TCP reset after half of the body."""
    code, data = request.forward()
    request.reply(code, data[: len(data) // 2], length=len(data))
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
    request.close_connection = True


def half_json(request):
    """Half of the reply under a 200, as if that were all."""
    code, data = request.forward()
    request.reply(code, data[: len(data) // 2])


def drip(request):
    """A body that never ends, a byte at a time."""
    request.reply(200, b"{", length=10**6)
    while not request.server.ended.wait(0.05):
        request.wfile.write(b" ")
        request.wfile.flush()


def endless(request):
    """A body far longer than any critique."""
    request.reply(200, b'{"choices": "', length=10**9)
    while not request.server.ended.is_set():
        request.wfile.write(b"x" * 2**20)


def choices(change):
    """The reply with its list of choices changed."""

    def fault(request):
        code, data = request.forward()
        reply = json.loads(data)
        reply["choices"] = change(reply["choices"])
        request.reply(code, json.dumps(reply).encode())

    return fault


empty_choices = choices(lambda given: [])
one_choice = choices(lambda given: given[:1])
twice_the_choices = choices(lambda given: given * 2)
