"""A server that is started as vLLM's is, binds as it does, and answers health and chat completions.

It stands in for vLLM where that is not installed.

It behaves as the name of its model says: ``broken`` ends before it is up, ``mute`` never is, ``hangs`` answers no more
after its first question, the first time; ``slow`` takes a while to load; any other works. Each start adds a line to
the file that STANDIN_VLLM names.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from chat_server import ChatServer, Handler, completion, error

CRITIQUE = "[1] 3, says 3: right 1\nWrong steps: []"


def options():
    """The options, by their names; a switch is True."""
    given, name = {}, ""
    for word in sys.argv[1:]:
        if word.startswith("--"):
            name = word
            given[name] = True
        else:
            given[name] = word
    return given


class Asked(Handler):
    def do_GET(self):  # noqa: N802
        if self.server.mute:
            time.sleep(600)
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Server(ChatServer):
    def __init__(self, given):
        self.port, self.model = int(given["--port"]), given["--served-model-name"]
        self.mute = self.model == "mute"
        self.first = len(Path(os.environ["STANDIN_VLLM"]).read_text().splitlines()) == 1
        super().__init__()
        self.RequestHandlerClass = Asked

    def server_bind(self):
        self.server_address = ("127.0.0.1", self.port)
        super().server_bind()

    def answer(self, body, key):
        if self.mute:
            time.sleep(600)
        self.mute = self.model == "hangs" and self.first
        if body["model"] != self.model:
            return 404, error(f"The model {body['model']} does not exist")
        return 200, completion(body["messages"][0]["content"], [CRITIQUE] * body.get("n", 1))


def main():
    given = options()
    engine = subprocess.Popen(["sleep", "600"])
    told = {"pid": os.getpid(), "engine": engine.pid, "gpus": os.environ["CUDA_VISIBLE_DEVICES"], "options": given}
    with Path(os.environ["STANDIN_VLLM"]).open("a") as file:
        file.write(json.dumps(told) + "\n")
    sys.stderr.write(f"loading {given['--model']}\n")
    if given["--model"] == "broken":
        sys.exit("OSError: no such model")
    time.sleep(1.5 if given["--model"] == "slow" else 0)
    Server(given).serve_forever(0.02)


if __name__ == "__main__":
    main()
