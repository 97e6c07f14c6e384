"""Messages between the runner and its workers: JSON, so that what arrives is plain data."""

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
        OSError: The other side is gone.
    """
    # Number types of numpy and torch are no JSON but are numbers.
    connection.send_bytes(json.dumps(message, default=float).encode())


def receive(connection: Connection) -> Message:
    """Wait for a message.

    Raises:
        EOFError: The other side is gone.
        OSError: Likewise.
    """
    message: Message = json.loads(connection.recv_bytes())
    return message
