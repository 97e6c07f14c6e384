"""A process that imports what a trial needs once and forks a child for every try of one, which may be killed.

A program: ``python -m killing`` reads orders, one JSON object a line, and answers each when its child has ended.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

OPERATIONS = ("replace", "rename", "fsync", "unlink", "rmdir", "mkdir", "link")
FOLDERS = re.compile(r"(?<=checkpoint-#)/.*|(?<=\.model)/.*")


def main():
    import trl.trainer.sft_trainer  # noqa: F401 - imported before the fork, so that a try costs no imports

    import capo_bench.run.stages  # noqa: F401
    import trainers.capo
    import trainers.cold_start
    import trainers.critics.embedded
    import trainers.critics.local  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            attempt(order)
        status = wait(child, order.get("seconds"))
        answer = {"killed": os.WIFSIGNALED(status), "code": status, "seconds": time.monotonic() - began}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def wait(child, seconds):
    """Wait for the child, or kill it after so many seconds if it has not ended by then."""
    end = time.monotonic() + (seconds or 120)
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def attempt(order):
    """Try the trial, as a worker does; never returns."""
    code = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 0 if run(order) else 2
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def run(order):
    from capo_bench.run.executor import Attempt
    from capo_bench.run.stages import run_trial
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Trial

    home, events = Path(order["home"]), Path(order["events"])
    bomb = Bomb(home, Path(order["met"]), order["kinds"]) if "met" in order else None
    if bomb:
        bomb.arm()

    def emit(message):
        if message["kind"] != "preparing":
            with events.open("a") as file:
                file.write(json.dumps(message, default=float) + "\n")
            if bomb:
                bomb.met(f"{message['kind']} {message.get('stage', message.get('step'))} {message.get('task', '')}")

    trial = Trial.from_json(order["trial"])
    return run_trial(trial, Home(home), emit, lambda: False, Attempt(**order["attempt"]))


def opened(descriptor):
    return Path(f"/proc/self/fd/{descriptor}").readlink()


class Bomb:
    """Kills this process before the first thing of some kinds that no process has been killed at.

    Args:
        home: Only what happens in it counts.
        known: File with the things that were met, a line each.
        kinds: Regular expression of the things that count.
    """

    def __init__(self, home, known, kinds):
        self.home, self.known, self.kinds = home, known, re.compile(kinds)
        self.seen = set(known.read_text().splitlines()) if known.exists() else set()

    def arm(self):
        """Look at every file operation that makes something appear, vanish or last."""
        for name in OPERATIONS:
            setattr(os, name, self.watched(name, getattr(os, name)))

    def watched(self, name, operation):
        def operate(path, *args, **kwargs):
            place = self.place(path, kwargs.get("dir_fd"))
            if place is not None:
                # What makes the files of a folder last changes nothing that a killed process leaves: one of them does.
                self.met(f"{name} {place if name != 'fsync' else FOLDERS.sub('', place)}")
            return operation(path, *args, **kwargs)

        return operate

    def place(self, path, folder):
        """Return where a file is, with numbers, hashes and random parts of names blotted out; None outside the home."""
        path = opened(path) if isinstance(path, int) else Path(path)
        path = path if folder is None else opened(folder) / path
        if not path.is_relative_to(self.home):
            return None
        return re.sub(r"\d+", "#", re.sub(r"[0-9a-f]{8,}", "#", f"/{path.relative_to(self.home)}"))

    def met(self, thing):
        thing = thing.strip()
        if thing not in self.seen and self.kinds.match(thing):
            with self.known.open("a") as file:
                file.write(thing + "\n")
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
