"""Check what is reached over a network: the hub, critic endpoints, rollout servers, and the clocks of servers."""

from __future__ import annotations

import os
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2

from capo_bench.doctor.needs import Finding, HubItem
from trainers.backbones import VllmRollouts
from trainers.critics.endpoint import EndpointParams

TIMEOUT = 10.0
CLOCK_SECONDS = 60.0
"""With a larger difference between clocks, signed requests fail and times in logs are wrong."""


def check_hub_item(item: HubItem) -> Finding:
    """Check whether a model or dataset is available in a folder, in the hub's cache or on the hub."""
    what = f"{item.kind} {item.name}"
    if Path(item.name).is_dir():
        return Finding(what, "ok", "a folder of this machine")
    from huggingface_hub import constants

    if is_in_cache(item):
        return Finding(what, "ok", f"in the hub's cache, {_describe_revision(item)}")
    if constants.HF_HUB_OFFLINE:
        remedy = "unset HF_HUB_OFFLINE, or download it where there is a network"
        return Finding(what, "missing", "not in the hub's cache, and HF_HUB_OFFLINE is set", remedy)
    return _check_hub(what, item)


def _check_hub(what: str, item: HubItem) -> Finding:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.repo_info(item.name, repo_type=item.kind, revision=item.revision, timeout=TIMEOUT)
    except GatedRepoError:
        problem = "gated, and your token, if there is one, is not allowed"
        return Finding(what, "missing", problem, "accept its licence on its page, then set HF_TOKEN or `hf auth login`")
    except (RepositoryNotFoundError, RevisionNotFoundError):
        problem = f"the hub has none, or not {_describe_revision(item)}"
        return Finding(what, "missing", problem, "correct its name or revision; private ones need HF_TOKEN")
    except Exception as error:
        problem = f"the hub cannot be reached ({type(error).__name__})"
        remedy = "check the network and proxies, set HF_ENDPOINT to a mirror, or give local folders"
        return Finding(what, "missing", problem, remedy)
    return Finding(what, "ok", f"on the hub, {_describe_revision(item)}")


def is_in_cache(item: HubItem) -> bool:
    """Return whether the hub's cache contains at least the beginning of a model or dataset."""
    from huggingface_hub import try_to_load_from_cache

    for name in ("config.json", "README.md", ".gitattributes"):
        if isinstance(try_to_load_from_cache(item.name, name, revision=item.revision, repo_type=item.kind), str):
            return True
    return False


def _describe_revision(item: HubItem) -> str:
    return f"at {item.revision[:12]}" if item.revision else "newest revision"


def check_endpoint(params: EndpointParams) -> list[Finding]:
    """Check whether a critic's endpoint answers, serves its model, and has the same time as this machine."""
    what = f"critic endpoint {params.base_url}"
    key = os.environ.get(params.api_key_env, "")
    try:
        reply = httpx2.get(
            f"{params.base_url}/models", headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=TIMEOUT
        )
    except httpx2.HTTPError as error:
        remedy = "start the server (study-file.md: A critic behind a server), or correct critic.base_url"
        return [Finding(what, "missing", f"does not answer ({type(error).__name__})", remedy)]
    findings = _check_clock(what, reply.headers.get("date"))
    if reply.status_code in {401, 403}:
        problem = f"refuses {'the key in' if key else 'requests without a key;'} {params.api_key_env}"
        return [Finding(what, "missing", problem, f"set {params.api_key_env} in the environment of the run"), *findings]
    return [_check_model(what, params, reply), *findings]


def _check_model(what: str, params: EndpointParams, reply: httpx2.Response) -> Finding:
    try:
        names = [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return Finding(what, "unknown", f"answers {reply.status_code}, and does not list its models")
    if params.model in names:
        return Finding(what, "ok", f"serves {params.model}")
    served = ", ".join(names[:5]) or "nothing"
    return Finding(
        what, "missing", f"serves {served}, not {params.model}", "set critic.model to a model that it serves"
    )


def _check_clock(what: str, date: str | None) -> list[Finding]:
    """Check the difference between this machine's clock and a server's, from the Date header of its reply."""
    try:
        off = time.time() - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return []
    if abs(off) <= CLOCK_SECONDS:
        return [Finding("clock", "ok", f"within {CLOCK_SECONDS:g} s of the {what}'s")]
    return [Finding("clock", "warning", f"{off:+.0f} s from the {what}'s", "set this machine's clock (NTP)")]


def check_rollout_server(server: VllmRollouts) -> Finding:
    """Check whether a rollout server answers."""
    what = f"rollout server {server.host}:{server.port}"
    try:
        reply = httpx2.get(f"http://{server.host}:{server.port}/health", timeout=TIMEOUT)
    except httpx2.HTTPError:
        return Finding(what, "missing", "does not answer", "start it with the command that `capo-bench plan` prints")
    if reply.status_code == 200:
        return Finding(what, "ok", "answers")
    return Finding(what, "missing", f"answers {reply.status_code}", "another program has the port; change vllm.port")


def check_loopback() -> Finding:
    """Check whether processes of this machine can connect over 127.0.0.1, as the processes of a trial do."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT):
                return Finding("ports", "ok", "processes can talk over 127.0.0.1")
    except OSError as error:
        return Finding("ports", "missing", f"127.0.0.1 is closed: {error.strerror}", "allow connections to it")
