"""One of several writers to one session, in a process of its own: ``python -m bench.server_writer``, told what to do on standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from bench.server_kept import PEERS, Driven, stay_quiet

WRITERS = 4
EACH = 50
"""Messages of each writer."""


def texts(writer: int) -> Iterator[str]:
    """What that writer writes; no two texts are the same."""
    return (f"writer {writer}, message {number}" for number in range(EACH))


def write(kept: Driven, writer: int) -> dict[str, Any]:
    """Append all of a writer's messages, each once; how many were refused, and the kinds of error that said so."""
    refused, errors = 0, set()
    for text in texts(writer):
        try:
            kept.run(kept.conversation.add([("user", text)]))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what a program would have to deal with
            refused += 1
            errors.add(type(error).__name__)
    return {"refused": refused, "errors": sorted(errors)}


def main() -> None:
    """Open the session named on the first line, say so, wait for another line, write."""
    stay_quiet()
    told = json.loads(sys.stdin.readline())
    (peer,) = [peer for peer in PEERS if peer.full_name == told["peer"]]
    kept = peer.open(told["url"], told["session_id"])
    print("ready", flush=True)
    sys.stdin.readline()
    said = write(kept, told["writer"])
    kept.close()
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
