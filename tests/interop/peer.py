"""One program with one store, driven over standard input: the verbs of praisonaiagents.session in praisonaiagents or in turnlog.

Started as ``python peer.py MODULE CLASS FOLDER OPTIONS``, OPTIONS being a JSON object of constructor arguments. Each line on standard
input is ``[verb, [arguments], {keyword arguments}]`` and is answered by one line, ``{"value": …}`` or ``{"error": …, "text": …}``.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any


def plain(value: Any) -> Any:
    """A value type as what JSON can hold."""
    for name in ("to_dict", "as_dict"):
        if hasattr(value, name):
            return plain(getattr(value, name)())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def append_many(store: Any, session_id: str, writer: str, count: int, pause: float) -> list[str]:
    """Append ``count`` numbered messages, pausing ``pause`` seconds after each; give the texts that the store acknowledged."""
    acknowledged = []
    for number in range(count):
        text = f"{writer} {number}"
        if store.add_message(session_id, "user", text) is True:
            acknowledged.append(text)
        time.sleep(pause)
    return acknowledged


def main() -> None:
    """Serve one store until standard input ends."""
    module, kind, folder, options = sys.argv[1:]
    store = getattr(importlib.import_module(module), kind)(session_dir=folder, **json.loads(options))
    for line in sys.stdin:
        verb, arguments, named = json.loads(line)
        try:
            value = append_many(store, *arguments) if verb == "append_many" else getattr(store, verb)(*arguments, **named)
            answer = {"value": plain(value)}
        except Exception as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
