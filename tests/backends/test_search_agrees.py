"""An index of words and a scan find the same, in the same order: random histories on the databases that keep an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.test_port_search import PLACES
from tests.session.search_corpus import agree
from turnlog.session import InMemorySessionStore, SessionStore


@pytest.mark.parametrize("engine", [name for name in PLACES if name != "sqlite"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_database_finds_what_a_scan_finds(engine: str, seed: int, tmp_path: Path) -> None:
    with InMemorySessionStore() as scanning, SessionStore(PLACES[engine](tmp_path)(search=True)) as indexing:
        agree(scanning, indexing, seed, rounds=2)
