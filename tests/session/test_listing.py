"""Listings: newest first, filters, pages that go on where they ended, whatever changes meanwhile."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.session.conftest import say
from turnlog.errors import InvalidCursorError, MessageIndexError
from turnlog.session import SessionStore


@pytest.fixture
def full(store: SessionStore) -> SessionStore:
    """Thirty sessions, s29 changed last."""
    for number in range(30):
        name = f"s{number:02}"
        store.add_messages(name, say(*["x"] * (number % 3 + 1)))
        store.set_agent_info(name, "even" if number % 2 == 0 else "odd", f"u{number % 3}")
    return store


NEWEST_FIRST = [f"s{number:02}" for number in range(29, -1, -1)]


def test_newest_first(full: SessionStore) -> None:
    assert [line["session_id"] for line in full.list_sessions()] == NEWEST_FIRST
    assert [line["session_id"] for line in full.list_sessions(7)] == NEWEST_FIRST[:7]
    assert len(full.list_sessions(0)) == 30
    full.add_message("s04", "user", "new")
    assert full.list_sessions(1)[0]["session_id"] == "s04"


def test_a_line_says_what_the_head_says(full: SessionStore) -> None:
    full.set_title("s05", "Five")
    full.update_session_metadata("s05", model="m", cost=0.5)
    (line,) = full.list_sessions(1)
    data = full.get_session("s05")
    expected = {"session_id": "s05", "id": "s05", "title": "Five", "message_count": 3, "agent_name": "odd", "user_id": "u2"}
    assert expected.items() <= line.items()
    assert (line["created_at"], line["updated_at"]) == (data.created_at, data.updated_at)
    assert (line["model"], line["cost"], line["parent_id"]) == ("m", 0.5, None)


def test_by_agent_and_recent(full: SessionStore) -> None:
    assert full.list_sessions_by_agent("even") == NEWEST_FIRST[1::2]
    assert full.list_sessions_by_agent("even", 2) == ["s28", "s26"]
    assert full.list_sessions_by_agent("nobody") == []
    full.set_title("s03", "Three")
    first, second = full.recent(limit=2)
    assert (first.session_id, first.title, first.message_count) == ("s03", "Three", 1)
    assert (second.session_id, second.title) == ("s29", "odd")
    assert len(full.recent()) == 10


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, NEWEST_FIRST),
        ({"prefix": "s1"}, NEWEST_FIRST[10:20]),
        ({"prefix": "s13"}, ["s13"]),
        ({"prefix": "none"}, []),
        ({"agent_name": "odd"}, NEWEST_FIRST[::2]),
        ({"user_id": "u0"}, [name for name in NEWEST_FIRST if int(name[1:]) % 3 == 0]),
        ({"prefix": "s0", "agent_name": "even", "user_id": "u0"}, ["s06", "s00"]),
        ({"agent_name": "nobody"}, []),
    ],
)
def test_filters_in_pages_of_any_size(full: SessionStore, query: dict[str, Any], expected: list[str]) -> None:
    for size in (1, 3, 10, 1000):
        assert [line.session_id for line in full.iter_sessions(**query, page_size=size)] == expected, size


def test_by_time(full: SessionStore) -> None:
    at = {line.session_id: datetime.fromisoformat(line.updated_at).timestamp() for line in full.iter_sessions()}
    middle = (at["s14"] + at["s15"]) / 2
    assert [line.session_id for line in full.iter_sessions(since=middle)] == NEWEST_FIRST[:15]
    assert [line.session_id for line in full.iter_sessions(until=middle)] == NEWEST_FIRST[15:]
    assert list(full.iter_sessions(since=middle, until=middle)) == []


def test_a_cursor_goes_on_after_its_page(full: SessionStore) -> None:
    found = []
    cursor = None
    while True:
        page = []
        for line in full.iter_sessions(page_size=7, cursor=cursor):
            page.append(line)
            if len(page) == 7:
                break
        assert len({line.cursor for line in page}) == 1
        found += [line.session_id for line in page]
        cursor = page[-1].cursor
        if cursor is None:
            break
    assert found == NEWEST_FIRST


def test_what_changes_between_pages_is_not_seen_twice_and_hides_nothing_else(full: SessionStore) -> None:
    lines = full.iter_sessions(page_size=5)
    found = [next(lines).session_id for _ in range(5)]
    full.add_message("s10", "user", "moves to the front")
    full.delete_session("s20")
    full.add_messages("new", say("x"))
    found += [line.session_id for line in lines]
    assert found == [name for name in NEWEST_FIRST if name not in ("s10", "s20")]


@pytest.mark.parametrize("cursor", ["", "nonsense", "[]", "e30", "\ud800", "WzEsMl0"])
def test_a_cursor_that_no_page_gave(full: SessionStore, cursor: str) -> None:
    with pytest.raises(InvalidCursorError) as error:
        list(full.iter_sessions(cursor=cursor))
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("size", [0, -1, True, 1.5])
def test_a_page_holds_at_least_one(full: SessionStore, size: Any) -> None:
    with pytest.raises(MessageIndexError):
        list(full.iter_sessions(page_size=size))
    if size != 0:
        with pytest.raises(MessageIndexError):
            full.list_sessions(size)


def test_names_of_every_kind_are_listed(store: SessionStore) -> None:
    names = ["a/b", "a_b", "A_B", "../../etc/passwd", ".", "CON", "\U0001f600", "\x00", "\ud800", "e\u0301", "é", " ", "x" * 1024]
    for name in names:
        store.add_messages(name, say(name))
    assert {line.session_id for line in store.iter_sessions(page_size=4)} == set(names)
    assert [line.session_id for line in store.iter_sessions(prefix="\ud800")] == ["\ud800"]
    for name in names:
        assert store.get_chat_history(name) == say(name)
