"""How a worker and its master talk: one JSON object to a line, over its stdin and stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

Answer = dict[str, Any]


def own_channel() -> TextIO:
    """The worker's stdout for answers alone: whatever else it prints goes to stderr."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def serve(channel: TextIO, actions: dict[str, Callable[..., Answer]]) -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        send(channel, answer(actions[request.pop("do")], request))


def answer(action: Callable[..., Answer], request: dict[str, Any]) -> Answer:
    """What the action returns, or its error in one line."""
    try:
        return action(**request)
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        return {"error": f"{type(error).__name__}: {first}"}


def send(channel: TextIO, message: Answer) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()
