"""Messages between the runner and its workers, as JSON; received messages are plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

Message = dict[str, Any]


def send(connection: Connection, message: Mapping[str, Any]) -> None:
    """Send a message.

    Raises:
        TypeError: A value is neither plain JSON nor a number.
        OSError: The other process is gone.
    """
    # Numbers of numpy and torch are not JSON types, so they are converted.
    connection.send_bytes(json.dumps(message, default=float).encode())


def receive(connection: Connection) -> Message:
    """Wait for a message and return it.

    Raises:
        EOFError: The other process is gone.
        OSError: The other process is gone.
    """
    message: Message = json.loads(connection.recv_bytes())
    return message
