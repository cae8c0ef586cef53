"""What importing turnlog costs, net of starting Python, and what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.measure import Bar, interleave, ratio_bar
from bench.plan import Plan
from bench.reads import SOURCE

GROUP = "Import"
FLOOR = "import json, dataclasses, typing"
USE = """
import turnlog.session
for name in turnlog.session.__all__:
    getattr(turnlog.session, name)
"""


def import_bars(plan: Plan) -> Iterator[Bar]:
    """Time and modules of an import."""
    kept = plan.folder("bytecode")
    place = plan.folder("imported")
    statements = {
        "floor": FLOOR,
        "turnlog": "import turnlog",
        "store": f"from turnlog.session import DefaultSessionStore; DefaultSessionStore({str(place)!r})",
    }
    sides = {name: partial(_importing, statement, kept) for name, statement in statements.items()}
    with plan.progress.step("imports in new processes"):
        taken = interleave(sides, rounds=plan.processes, batch=1)
        strangers = foreign_modules(kept, place)
    for name, title, limit in (("turnlog", "import turnlog", 2.0), ("store", "import and construct DefaultSessionStore", 4.0)):
        yield ratio_bar(GROUP, title, taken[name], taken["floor"], limit=limit, against=FLOOR)
    found = float(len(strangers))
    yield Bar(
        group=GROUP,
        name="third-party modules loaded by every public name",
        unit="modules",
        value=found,
        low=found,
        high=found,
        limit=0,
        against=" ".join(strangers),
    )


def _importing(statement: str, kept: Path, count: int) -> float:
    """Seconds that a statement takes in new processes, from the first to the last line of it; bytecode is kept in ``kept``."""
    timed = f"import time; begin = time.perf_counter(); {statement}; print(time.perf_counter() - begin)"
    return sum(float(_python(kept, timed, "-S")) for _ in range(count))


def foreign_modules(kept: Path, place: Path) -> list[str]:
    """Top-level modules outside the standard library that are loaded once every public name and every built-in store was used."""
    stores = f"""
for url in ("json://{place}/json", "sqlite://{place}/one.sqlite", "memory://"):
    with turnlog.session.open_store(url) as store:
        store.add_message("one", "user", "Hello")
"""
    listing = "import json, sys\nbefore = set(sys.modules)\n"
    asking = """
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(names - set(sys.stdlib_module_names) - {"turnlog"})))
"""
    names: list[str] = json.loads(_python(kept, listing + USE + stores + asking))
    return names


def _python(kept: Path, code: str, *options: str) -> str:
    # Isolated, so that no variable of the caller changes what is measured; -S keeps site-packages from being looked at.
    path = f"import sys; sys.path.append({str(SOURCE)!r})\n"
    command = [sys.executable, "-I", *options, "-X", f"pycache_prefix={kept}", "-c", path + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{code!r} failed:\n{done.stderr}")
    return done.stdout
