"""The contract of the port, sentence by sentence, on every backend: pages of heads."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from turnlog.backends.port import Query
from turnlog.errors import InvalidCursorError, SessionError
from turnlog.heads import Head, Parent
from turnlog.messages import Record


def put(backend: Any, session_id: str, updated_at: float, *, parent: str | None = None, **fields: Any) -> Head:
    """Store a head with these fields and this time; its run is named after the session."""
    above = Parent(parent, "b", "r", 0) if parent is not None else None
    head = Head(session_id=session_id, run=f"run of {session_id!a}", born="b", updated_at=updated_at, parent=above, fields=fields)
    assert backend.put_head(head, expect=None)
    return head


def every_page(backend: Any, query: Query, limit: int) -> list[Head]:
    """All heads, by way of pages of ``limit``; all pages but the last are full."""
    heads: list[Head] = []
    cursor = None
    while True:
        page = backend.list_heads(query, cursor=cursor, limit=limit)
        heads += page.heads
        if page.cursor is None:
            assert len(page.heads) <= limit
            return heads
        assert len(page.heads) == limit
        cursor = page.cursor


def ids(backend: Any, query: Query, limit: int = 100) -> list[str]:
    """The ids of all pages."""
    return [head.session_id for head in every_page(backend, query, limit)]


def test_an_empty_store_has_one_empty_page(backend: Any) -> None:
    assert backend.list_heads(Query(), cursor=None, limit=5) == ([], None)


def test_newest_come_first_and_ties_go_by_id_descending(backend: Any) -> None:
    for session_id, updated_at in (("b", 2.0), ("new", 3.0), ("a", 2.0), ("old", -1.0), ("c", 2.0), ("B", 2.0)):
        put(backend, session_id, updated_at)
    assert ids(backend, Query()) == ["new", "c", "b", "a", "B", "old"]


def test_ties_go_by_code_point_for_any_id(backend: Any) -> None:
    names = ["\x00", "\x01", "\x02", "a", "a\x00", "a\x01", "\ud7ff", "\ud800", "\udfff", "\ue000", "\ue001", "\uffff", "😀"]
    for name in random.Random(1).sample(names, len(names)):
        put(backend, name, 1.0)
    assert ids(backend, Query(), 2) == names[::-1]


def test_heads_come_whole(backend: Any) -> None:
    head = put(backend, "s", 4.5, parent=None, title="T", agent_name="A", user_id="U", metadata={"x": [1]})
    assert backend.list_heads(Query(), cursor=None, limit=1) == ([head], None)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 11])
def test_pages_hold_every_head_once(backend: Any, limit: int) -> None:
    names = [f"s{number}" for number in range(10)]
    for number, name in enumerate(names):
        put(backend, name, float(number // 4))
    expected = sorted(names, key=lambda name: (int(name[1:]) // 4, name), reverse=True)
    assert ids(backend, Query(), limit) == expected


def test_a_page_that_ends_with_the_last_head_has_no_cursor(backend: Any) -> None:
    for number in range(6):
        put(backend, f"s{number}", float(number))
    first = backend.list_heads(Query(), cursor=None, limit=3)
    assert first.cursor is not None
    assert re.fullmatch("[A-Za-z0-9_.~-]+", first.cursor)
    second = backend.list_heads(Query(), cursor=first.cursor, limit=3)
    assert [head.session_id for head in second.heads] == ["s2", "s1", "s0"]
    assert second.cursor is None


def test_a_cursor_goes_on_behind_its_place_whatever_changed(backend: Any) -> None:
    heads = [put(backend, f"s{number}", float(number)) for number in range(6)]
    cursor = backend.list_heads(Query(), cursor=None, limit=2).cursor
    backend.remove_head("s4", heads[4].run)
    backend.remove_head("s3", heads[3].run)
    put(backend, "newest", 99.0)
    backend.append("s1", [Record(-1, "m", 1.0, "{}", None)], now=50.0, expect=None)
    page = backend.list_heads(Query(), cursor=cursor, limit=10)
    assert [head.session_id for head in page.heads] == ["s2", "s0"]
    assert ids(backend, Query()) == ["newest", "s1", "s5", "s2", "s0"]


def test_cursors_carry_any_id(backend: Any) -> None:
    names = ["plain", "nul\x00", "\ud800", "😀", "x" * 1024]
    for name in names:
        put(backend, name, 0.1)
    assert set(ids(backend, Query(), 1)) == set(names)


@pytest.mark.parametrize(
    "cursor",
    ["", "nonsense", "AAAA", "!", "é", "WzEsMl0", "W251bGwsICJhIl0", "WzEuMF0", "e30", "W05hTiwiYSJd", "W3RydWUsImEiXQ", "W1tbW1s"],
)
def test_a_malformed_cursor_is_refused(backend: Any, cursor: str) -> None:
    put(backend, "s", 1.0)
    with pytest.raises(InvalidCursorError) as caught:
        backend.list_heads(Query(), cursor=cursor, limit=5)
    assert isinstance(caught.value, SessionError)
    assert isinstance(caught.value, ValueError)


def test_by_agent_and_user(backend: Any) -> None:
    put(backend, "s1", 1.0, agent_name="A", user_id="u")
    put(backend, "s2", 2.0, agent_name="B", user_id="u")
    put(backend, "s3", 3.0, agent_name="A")
    put(backend, "s4", 4.0)
    put(backend, "s5", 5.0, agent_name=["A"], user_id=7)
    put(backend, "s6", 6.0, agent_name="a\ud800\x00", user_id="")
    assert ids(backend, Query(agent_name="A")) == ["s3", "s1"]
    assert ids(backend, Query(user_id="u")) == ["s2", "s1"]
    assert ids(backend, Query(agent_name="A", user_id="u")) == ["s1"]
    assert ids(backend, Query(agent_name="a\ud800\x00")) == ["s6"]
    assert ids(backend, Query(user_id="")) == ["s6"]
    assert ids(backend, Query(agent_name="nobody")) == []


def test_filters_follow_a_change_of_the_head(backend: Any) -> None:
    put(backend, "s", 1.0, agent_name="A", user_id="u", parent="p")
    moved = Head(session_id="s", run="run of 's'", born="b", counter=1, updated_at=2.0, fields={"agent_name": "B"})
    assert backend.put_head(moved, expect="run of 's'.0")
    assert ids(backend, Query(agent_name="A")) == ids(backend, Query(user_id="u")) == ids(backend, Query(parent_id="p")) == []
    assert ids(backend, Query(agent_name="B", since=2.0)) == ["s"]


def test_since_is_inclusive_and_until_is_not(backend: Any) -> None:
    for number in range(6):
        put(backend, f"s{number}", float(number))
    assert ids(backend, Query(since=4.0)) == ["s5", "s4"]
    assert ids(backend, Query(until=2.0)) == ["s1", "s0"]
    assert ids(backend, Query(since=2.0, until=4.0), 1) == ["s3", "s2"]
    assert ids(backend, Query(since=4.0, until=4.0)) == []


def test_by_parent(backend: Any) -> None:
    for number in range(4):
        put(backend, f"c{number}", float(number), parent="p" if number != 2 else "p\x00")
    put(backend, "p", 9.0)
    assert ids(backend, Query(parent_id="p"), 1) == ["c3", "c1", "c0"]
    assert ids(backend, Query(parent_id="p\x00")) == ["c2"]
    backend.remove_head("c1", "run of 'c1'")
    assert ids(backend, Query(parent_id="p")) == ["c3", "c0"]
    assert ids(backend, Query(parent_id="c0")) == []


NAMES = [
    "a",
    "ab",
    "abc",
    "a%",
    "a%c",
    "a_",
    "a_c",
    "a*",
    "a[b]",
    "A",
    "Ab",
    "å",
    "åb",
    "😀",
    "😀x",
    "a\x00",
    "a\x00b",
    "\x01",
    "a\ud800",
    "\ud800",
]
NAMES += ["\ue000", "\U0010ffff", "\U0010ffff\U0010ffffz", "\ud7ff", "\ud7ffx", "z", "bot_telegram_1", "bot_telegram_2", "botxtelegram_3"]


@pytest.mark.parametrize("prefix", [*NAMES, "bot_", "b", "nothing", "\x00"])
def test_a_prefix_is_taken_as_it_is_written(backend: Any, prefix: str) -> None:
    for number, name in enumerate(NAMES):
        put(backend, name, float(number))
    expected = [name for name in NAMES if name.startswith(prefix)][::-1]
    assert ids(backend, Query(prefix=prefix), 2) == expected


def test_a_common_prefix_and_a_rare_one_give_the_same_order(backend: Any) -> None:
    times = random.Random(5)
    expected = []
    for number in range(2_100):
        updated_at = float(times.randrange(300))
        put(backend, f"bot_{number}", updated_at)
        put(backend, f"cat_{number}", updated_at)
        expected.append((updated_at, f"bot_{number}"))
    expected.sort(reverse=True)
    assert ids(backend, Query(prefix="bot_"), 400) == [name for _, name in expected]
    rare = [name for _, name in expected if name.startswith("bot_20")]
    assert ids(backend, Query(prefix="bot_20"), 7) == rare


def test_all_conditions_hold_together(backend: Any) -> None:
    choose = random.Random(11)
    rows = []
    for number in range(150):
        row = {
            "session_id": f"{choose.choice(['x', 'y'])}{number}",
            "updated_at": float(choose.randrange(20)),
            "agent_name": choose.choice(["A", "B", None]),
            "user_id": choose.choice(["u", "v", None]),
            "parent": choose.choice(["p", "q", None]),
        }
        put(backend, **{name: value for name, value in row.items() if value is not None})
        rows.append(row)
    rows.sort(key=lambda row: (row["updated_at"], row["session_id"]), reverse=True)
    for _ in range(60):
        query = Query(
            prefix=choose.choice(["", "x", "y1"]),
            agent_name=choose.choice([None, "A"]),
            user_id=choose.choice([None, "u"]),
            since=choose.choice([None, 5.0]),
            until=choose.choice([None, 12.0]),
            parent_id=choose.choice([None, "p"]),
        )
        expected = [
            row["session_id"]
            for row in rows
            if row["session_id"].startswith(query.prefix)
            and query.agent_name in (None, row["agent_name"])
            and query.user_id in (None, row["user_id"])
            and query.parent_id in (None, row["parent"])
            and (query.since is None or row["updated_at"] >= query.since)
            and (query.until is None or row["updated_at"] < query.until)
        ]
        assert ids(backend, query, choose.choice([3, 50])) == expected
