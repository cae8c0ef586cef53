"""What a store remembers of heads: bounded, and safe among threads."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from turnlog.backends.memory import MemoryBackend
from turnlog.backends.port import Appended
from turnlog.heads import Head
from turnlog.store.seen import Seen
from turnlog.store.sync import SessionStore


def a_head(name: str, **values: int) -> Head:
    return Head(session_id=name, run=f"run of {name}", born="b", **values)


def test_the_head_that_was_noted_longest_ago_goes_first() -> None:
    seen = Seen(2)
    for name in ("a", "b", "a", "c"):
        seen.note(a_head(name))
    assert [name for name in "abc" if seen.get(name)] == ["a", "c"]


def test_a_head_follows_appends_that_nobody_came_between() -> None:
    seen = Seen(2)
    seen.note(a_head("s", length=3, counter=5))
    seen.grow("s", 2, Appended("run of s.6", 5, False), 7.0)
    seen.grow("s", 2, Appended("run of s.6", 5, True), 8.0)
    head = seen.get("s")
    assert head is not None
    assert (head.length, head.counter, head.updated_at) == (5, 6, 7.0)
    seen.grow("s", 1, Appended("run of s.8", 7, False), 9.0)
    assert seen.get("s") is None


def test_a_store_forgets_what_it_changes_erases_and_closes() -> None:
    store = SessionStore(MemoryBackend())
    seen = store._core._seen
    for change in (store.clear_session, store.delete_session, lambda name: store.set_title(name, "T")):
        store.add_message("s", "user", "a")
        store.get_chat_history("s")
        assert seen.get("s")
        change("s")
        assert seen.get("s") is None
    store.get_chat_history("s")
    store.close()
    assert seen.get("s") is None


def test_threads_that_see_more_sessions_than_are_remembered() -> None:
    seen, interval = Seen(5), sys.getswitchinterval()

    def work(writer: int) -> int:
        for number in range(4_000):
            head = a_head(f"{writer} {number % 7}")
            seen.note(head)
            seen.grow(head.session_id, 1, Appended(f"{head.run}.{number % 3}", 1, False), 1.0)
            seen.forget(f"{(writer + 1) % 8} {number % 7}")
        return writer

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert sorted(threads.map(work, range(8))) == list(range(8))
    finally:
        sys.setswitchinterval(interval)
