"""A process of its own that opens a store cold, reads the end of one session and prints what that took, as JSON.

Started by path with ``SOURCE STORE KEYWORD PLACE SESSION COUNT LOADED``. LOADED "1": the store's code is loaded before the clock starts.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path


def memory(name: str) -> int:
    """A figure of this process in bytes: VmRSS (now) or VmHWM (the most so far)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def main() -> None:
    """Measure once."""
    source, store, keyword, place, session_id, count, loaded = sys.argv[1:]
    sys.path.append(source)
    import turnlog.session

    kind = getattr(turnlog.session, store)
    if loaded == "1":
        with tempfile.TemporaryDirectory() as other:
            with kind(**{keyword: os.path.join(other, "other")}) as small:
                small.add_message("one", "user", "Hello")
                small.get_chat_history("one", 50)
    before = memory("VmRSS")
    begin = time.perf_counter()
    opened = kind(**{keyword: place})
    found = opened.get_chat_history(session_id, int(count))
    seconds = time.perf_counter() - begin
    if len(found) != int(count):
        raise RuntimeError(f"{len(found)} messages came back instead of {count}")
    print(json.dumps({"seconds": seconds, "added": max(0, memory("VmHWM") - before)}))


if __name__ == "__main__":
    main()
