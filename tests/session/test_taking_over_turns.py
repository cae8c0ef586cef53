"""An open turn is taken over by the first who asks, as it was seen: the others are told, and what it holds stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnlog.errors import ConflictError
from turnlog.session import DefaultSessionStore, InMemorySessionStore, SessionStore, SqliteSessionStore


@pytest.mark.parametrize("kind", ["json", "sqlite", "memory"])
def test_the_first_takes_it_over(kind: str, tmp_path: Path) -> None:
    stores = {"json": DefaultSessionStore, "sqlite": SqliteSessionStore}
    store: SessionStore = InMemorySessionStore() if kind == "memory" else stores[kind](tmp_path / "place")
    store.put_open_turn("s", "t", [{"role": "user", "content": "asked", "id": "t-0"}])
    (seen,) = store.get_open_turns("s")
    taken = [{"role": "user", "content": "taken", "id": "t-0"}]
    store.put_open_turn("s", "t", taken, expect_updated_at=seen.updated_at)
    with pytest.raises(ConflictError, match="taken over"):
        store.put_open_turn("s", "t", [], expect_updated_at=seen.updated_at)
    assert [message.content for message in store.get_open_turns("s")[0].messages] == ["taken"]
    store.add_messages("s", taken, turn_id="t")
    with pytest.raises(ConflictError, match="landed"):
        store.put_open_turn("s", "t", taken, expect_updated_at=seen.updated_at)
    assert store.get_open_turns("s") == []
