"""Start a critic's server as a vLLM process, monitor it, restart it when it dies, and end it.

The kernel chooses the port. A socket of this process that is bound to the port, but does not listen, reserves it for
the whole run: no other program gets it, and vLLM can still bind to it by number, also after a restart. The address
therefore never changes during a run. The server leads a process group that ends when this process ends, for any reason.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from capo_bench.process.contexts import call_repeatedly, keep_environment
from capo_bench.process.orphans import describe_end
from capo_bench.run.logs import rotate
from capo_bench.store.errors import RunError
from capo_bench.study.identity import judge_key
from capo_bench.study.served import ServedCritic, find_pending_critic
from trainers.critics.serve import URL, ServeParams

if TYPE_CHECKING:
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Trial

RESTARTS = 3
"""Maximum number of restarts of a server that has been ready."""
HUNG_SECONDS = 120.0
"""A server that has been ready is restarted after it has not answered for this many seconds."""
END_SECONDS = 10.0
"""Seconds that a server has for an orderly end, in which it frees its shared memory."""
LOOK_SECONDS = 1.0
_SHOWN_LINES, _SHOWN_CHARACTERS = 12, 2000

State = Literal["waiting", "starting", "ready", "lost"]


class CriticServer:
    """The vLLM server of one critic. When the context ends, no process and no open port of it remains.

    Args:
        critic: The critic to serve.
        gpus: The only GPUs that the server sees; without any, it runs on processors.
        log: File for the server's output.

    Attributes:
        state: ``waiting`` to be started, ``starting``, ``ready``, or ``lost`` for good.
        url: Base URL of its API; restarts do not change it.
        error: Why the server was lost, as a sentence; empty if it was not.
        died: Time of its last death, by `time.monotonic`.

    Raises:
        RunError: vLLM is not installed.
    """

    def __init__(self, critic: ServedCritic, gpus: Sequence[str], log: Path) -> None:
        check_installed(critic)
        self.critic, self.log = critic, log
        self.state: State = "waiting"
        self.error, self.died = "", 0.0
        self._gpus, self._restarts, self._model = gpus, 0, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._began = self._answered = self._looked = 0.0
        self._socket = _reserve_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> CriticServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._end(END_SECONDS)
        self._socket.close()

    def start(self, model: str) -> None:
        """Start the server with a model (repository id or folder); `look` reports when it is ready.

        Raises:
            RunError: The process cannot be started.
        """
        self._model, self.state = model, "starting"
        self._began = self._answered = time.monotonic()
        watched, self._lifeline = os.pipe()
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as out:
                out.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {self.critic.model}\n".encode())
                self._process = subprocess.Popen(  # noqa: S603 - vLLM's own module
                    [
                        *_IN_A_GROUP,
                        str(watched),
                        *build_command(self.critic, model, self.port, on_gpus=bool(self._gpus)),
                    ],
                    env=_build_environment(self._gpus),
                    pass_fds=(watched,),
                    process_group=0,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
        except OSError as error:
            raise RunError(f"cannot start {self.critic} (log {self.log}): {error}") from error
        finally:
            os.close(watched)

    def look(self) -> str:
        """Check that the process lives and answers; return a description of any change, else an empty string.

        Requests are sent at most once a second.
        """
        if self._process is None:
            return ""
        if self._process.poll() is not None:
            return self._handle_death(f"it {describe_end(self._process.returncode)}")
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return ""
        self._looked = time.monotonic()
        rotate(self.log)
        if self._is_answering():
            self._answered = self._looked
            return self._mark_ready() if self.state == "starting" else ""
        limit = self.critic.serve.start_seconds if self.state == "starting" else HUNG_SECONDS
        silent = self._looked - self._answered
        if silent <= limit:
            return ""
        waited = f"was not ready within {limit:g} s (serve.start_seconds)" if self.state == "starting" else ""
        return self._handle_death(f"it {waited or f'did not answer for {silent:.0f} s'}")

    @property
    def seconds(self) -> float:
        """Seconds since the server was last started."""
        return time.monotonic() - self._began

    def _mark_ready(self) -> str:
        self.state = "ready"
        return f"{self.critic} is ready at {self.url} after {self.seconds:.0f} s"

    def _is_answering(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LOOK_SECONDS)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _handle_death(self, how: str) -> str:
        """Restart the server or give it up; return a description. A server that was never ready is given up at once."""
        self._end(0.0)
        self.died = time.monotonic()
        has_worked = self.state == "ready" or self._restarts > 0
        if has_worked and self._restarts < RESTARTS:
            self._restarts += 1
            self.start(self._model)
            again = f"it is started again ({self._restarts} of {RESTARTS}; log {self.log})"
            return f"{self.critic} was lost: {how}; {again}"
        self.state = "lost"
        before = f", and was started again {RESTARTS} times before" if has_worked else ""
        self.error = f"{self.critic} was lost: {how}{before} (log {self.log})"
        return f"{self.error}; it wrote last:\n{read_last_lines(self.log)}"

    def _end(self, seconds: float) -> None:
        """End the process and all processes that it started, orderly if it ends within `seconds`."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(subprocess.TimeoutExpired, ProcessLookupError):
            if seconds:
                process.terminate()
                process.wait(seconds)
        with suppress(ProcessLookupError):  # the guard in the group still lives, so the group id is not reused
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(self._lifeline)


class CriticServers:
    """The critic servers of a run; their logs are in `folder`. The servers end with the context."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home, self._folder = home, folder
        self._servers: dict[ServedCritic, CriticServer] = {}

    def open(self, shares: Mapping[ServedCritic, Sequence[str]]) -> None:
        """Create a server with its GPUs for each critic; `look` starts the servers.

        Raises:
            RunError: vLLM is not installed.
        """
        for number, (critic, gpus) in enumerate(shares.items(), start=1):
            log = self._folder / f"critic-server{f'-{number}' if number > 1 else ''}.log"
            self._servers[critic] = CriticServer(critic, gpus, log)

    def __enter__(self) -> CriticServers:
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as all_of_them:
            for server in self._servers.values():
                all_of_them.push(server)

    @property
    def memory_taken(self) -> float:
        """Share of the memory of the trials' GPUs that critic servers without GPUs of their own use."""
        return sum(critic.serve.gpu_memory_utilization for critic in self._servers if not critic.serve.gpus)

    def of(self, trial: Trial) -> CriticServer | None:
        """Return the server of a trial's critic; None if the critic is not served or training is finished."""
        critic = find_pending_critic(trial, self._home)
        return self._servers.get(critic) if critic is not None else None

    def look(self) -> Iterator[tuple[CriticServer, str]]:
        """Start the servers that can start, and yield each server that changed, with a description of the change.

        Raises:
            RunError: A process cannot be started.
        """
        for critic, server in self._servers.items():
            model = _find_model(critic, self._home)
            if server.state == "waiting" and (isinstance(model, str) or model.exists()):
                server.start(str(model))
                yield server, f"{critic} is started on {critic.place} (log {server.log})"
            elif news := server.look():
                yield server, news


def _find_model(critic: ServedCritic, home: Home) -> Path | str:
    """Return the model for the server: the folder (existing or future) of an embedded critic, or the model's name."""
    if critic.embedded is None:
        return critic.model
    return home.stage("critic", judge_key(critic.embedded))


@contextmanager
def serve_critic(critic: ServedCritic, embedded: Path | None, log: Path) -> Iterator[None]:
    """Serve a critic for this process alone; the context begins when the server is ready, and its end ends the server.

    `embedded` is the folder of the critic if it is an embedded one.

    Raises:
        RunError: vLLM is not installed, GPUs are missing, or the server does not become ready.
    """
    from capo_bench.run.devices import list_visible_gpus, share_out

    shares, _ = share_out([critic], list_visible_gpus())
    with CriticServer(critic, shares[critic], log) as server:
        server.start(str(embedded or critic.model))
        while server.state != "ready":
            news = server.look()
            if server.state == "lost":
                raise RunError(news)
            time.sleep(LOOK_SECONDS / 10)
        # If the server dies, it is restarted, and requests wait for it.
        with keep_environment(URL), call_repeatedly(LOOK_SECONDS, server.look):
            os.environ[URL] = server.url
            yield


_IN_A_GROUP = (sys.executable, "-P", "-u", "-m", "capo_bench.process.orphans")


def build_command(critic: ServedCritic, model: str, port: int, *, on_gpus: bool) -> list[str]:
    """Return the command of a server; it runs vLLM's module, because some builds lack a working `vllm` command."""
    serve = critic.serve
    return [
        *(sys.executable, "-P", "-u", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", model, "--served-model-name", critic.model, "--host", "127.0.0.1", "--port", str(port)),
        # Only the request sets the sampling, without defaults from the model's folder; the usage includes cached
        # tokens.
        *("--generation-config", "vllm", "--enable-prompt-tokens-details", "--seed", "0"),
        *("--dtype", serve.dtype, "--disable-uvicorn-access-log"),
        *_build_option("--revision", serve.revision),
        *_build_option("--tokenizer-revision", serve.revision),
        *_build_option("--quantization", serve.quantization),
        *_build_option("--max-model-len", serve.max_model_len),
        *_build_option("--max-num-seqs", serve.max_num_seqs),
        *(["--enforce-eager"] if serve.enforce_eager else []),
        # On a CPU, vLLM 0.31 crashes at a seeded request whose prompt is prefilled in chunks.
        *(_build_gpu_options(serve) if on_gpus else ["--no-enable-chunked-prefill"]),
    ]


def _build_gpu_options(serve: ServeParams) -> list[str]:
    split = serve.tensor_parallel_size
    copies = max(serve.gpus // split, 1)
    return [
        *("--tensor-parallel-size", str(split), "--gpu-memory-utilization", str(serve.gpu_memory_utilization)),
        *(["--data-parallel-size", str(copies)] if copies > 1 else []),
    ]


def _build_option(option: str, value: object) -> list[str]:
    return [] if value is None else [option, str(value)]


def check_installed(critic: ServedCritic) -> None:
    """Refuse to serve a critic without vLLM.

    Raises:
        RunError: vLLM is not installed; says how to install it.
    """
    if importlib.util.find_spec("vllm") is None:
        raise RunError(
            f"{critic} needs vLLM, which is not installed: pip install 'capo-bench[vllm]', or start a server elsewhere "
            "and name it by critic.base_url in place of critic.serve"
        )


def read_last_lines(log: Path) -> str:
    """Return the end of a log: at most 12 lines and 2000 characters."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(text.strip().splitlines()[-_SHOWN_LINES:])[-_SHOWN_CHARACTERS:]


def _reserve_port() -> socket.socket:
    """Return a socket that reserves a free port of 127.0.0.1 for a server that sets the same socket options as vLLM."""
    holder = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        holder.setsockopt(socket.SOL_SOCKET, option, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def _build_environment(gpus: Sequence[str]) -> Mapping[str, str]:
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    # With VLLM_API_KEY set, the server would demand a key, which trials do not send.
    inherited = {name: value for name, value in os.environ.items() if name != "VLLM_API_KEY"}
    return inherited | {"CUDA_VISIBLE_DEVICES": ",".join(gpus), "PYTHONPATH": path, "VLLM_NO_USAGE_STATS": "1"}
