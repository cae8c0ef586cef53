"""The contract of the port, sentence by sentence, on every backend: sessions that expire. Times are the tests' own; nobody waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.backends.samples import a_head, all_ids, record, records
from tests.backends.test_port_listing import every_page, ids
from turnlog.backends.port import Appended, Query
from turnlog.errors import ConflictError
from turnlog.heads import Head, Parent


def put(backend: Any, session_id: str, updated_at: float, ttl: float | None, **values: Any) -> Head:
    """Store a head with this time and ttl."""
    head = a_head(session_id, f"run of {session_id!a}", updated_at=updated_at, ttl=ttl, **values)
    assert backend.put_head(head, expect=None)
    return head


class TestHeads:
    @pytest.mark.parametrize("ttl", [3600.0, 0.25, 1e9, None])
    def test_a_ttl_comes_back_as_it_was_given(self, backend: Any, ttl: float | None) -> None:
        head = put(backend, "s", 2.5, ttl)
        assert backend.get_head("s") == head
        assert backend.list_heads(Query(), cursor=None, limit=5).heads == [head]

    def test_a_ttl_comes_with_first_records(self, backend: Any) -> None:
        head = a_head(length=2, ttl=60.0)
        backend.put_head(head, expect=None, records=records(0, 2))
        assert backend.get_head("s") == head

    def test_a_ttl_can_be_changed_and_taken_back(self, backend: Any) -> None:
        head = put(backend, "s", 2.5, None)
        for ttl in (60.0, 30.5, None, 10.0):
            changed = replace(head, counter=head.counter + 1, ttl=ttl)
            assert backend.put_head(changed, expect=head.revision) is True
            head = changed
            assert backend.get_head("s") == head

    def test_an_append_leaves_the_ttl_and_moves_the_expiry_on(self, backend: Any) -> None:
        put(backend, "s", 2.5, 10.0)
        for number, now in enumerate((12.25, 22.0, 31.75)):
            assert backend.append("s", [record(f"m{number}")], now=now, expect=None).messages == number + 1
            head = backend.get_head("s")
            assert (head.ttl, head.updated_at) == (10.0, now)

    def test_an_expired_head_is_still_given(self, backend: Any) -> None:
        head = put(backend, "s", 2.5, 1.0)
        assert backend.get_head("s") == head
        assert backend.list_heads(Query(), cursor=None, limit=5).heads == [head]
        assert backend.put_head(replace(head, counter=1, ttl=None), expect=head.revision) is True
        assert backend.append("s", [record("a")], now=9.0, expect=None) is not None


class TestAppend:
    @pytest.mark.parametrize("batch", [[record("new")], [record("new"), record("newer")], [record("m0")], []])
    @pytest.mark.parametrize("expected", [False, True])
    def test_an_append_to_an_expired_session_writes_nothing(self, backend: Any, batch: Any, expected: bool) -> None:
        put(backend, "s", 2.5, 10.0)
        backend.append("s", records(0, 2), now=5.0, expect=None)
        head = backend.get_head("s")
        for now in (15.0, 15.25, 1e9):
            assert backend.append("s", batch, now=now, expect=head.revision if expected else None) is None
        assert backend.get_head("s") == head
        assert all_ids(backend, "s", head.run) == ["m0", "m1"]

    def test_a_wrong_revision_of_an_expired_session_is_no_conflict(self, backend: Any) -> None:
        put(backend, "s", 2.5, 10.0)
        assert backend.append("s", [record("a")], now=12.5, expect="r9.9") is None

    def test_just_before_it_expires_it_lives(self, backend: Any) -> None:
        put(backend, "s", 2.5, 10.0)
        with pytest.raises(ConflictError):
            backend.append("s", [record("a")], now=12.25, expect="r9.9")
        assert backend.append("s", [record("a")], now=12.25, expect=None) is not None
        assert backend.append("s", [record("b")], now=22.25, expect=None) is None

    def test_one_without_a_ttl_never_expires(self, backend: Any) -> None:
        put(backend, "s", 2.5, None)
        assert backend.append("s", [record("a")], now=1e9, expect=None) is not None

    def test_what_counts_is_the_last_change(self, backend: Any) -> None:
        head = put(backend, "s", 2.5, 10.0)
        backend.put_head(replace(head, counter=1, updated_at=50.0), expect=head.revision)
        assert backend.append("s", [record("a")], now=59.75, expect=None) is not None
        head = backend.get_head("s")
        backend.put_head(replace(head, counter=head.counter + 1, updated_at=60.0, ttl=1.0), expect=head.revision)
        assert backend.append("s", [record("b")], now=61.0, expect=None) is None

    def test_a_new_life_follows_once_the_old_head_is_gone(self, backend: Any) -> None:
        head = put(backend, "s", 2.5, 10.0)
        backend.append("s", [record("a")], now=3.0, expect=None)
        old = backend.get_head("s")
        assert backend.append("s", [record("b")], now=13.0, expect=None) is None
        assert backend.remove_head("s", head.run, expect=old.revision) is True
        assert backend.append("s", [record("b")], now=13.0, expect=None) is None
        new = a_head("s", "r2", born="b2", updated_at=13.0, ttl=10.0)
        assert backend.put_head(new, expect=None) is True
        assert backend.append("s", [record("a")], now=14.0, expect=None) == Appended(f"r2.{backend.counter(1)}", 1, False)


class TestExpired:
    def test_only_those_whose_time_has_run_out_are_listed(self, backend: Any) -> None:
        put(backend, "gone", 10.0, 5.0)
        put(backend, "on the dot", 12.0, 8.0)
        put(backend, "alive", 12.0, 8.25)
        put(backend, "forever", 1.0, None)
        put(backend, "long", 1.0, 1e9)
        assert ids(backend, Query(expired_at=20.0)) == ["on the dot", "gone"]
        assert ids(backend, Query(expired_at=14.75)) == []
        assert ids(backend, Query(expired_at=15.0)) == ["gone"]
        assert ids(backend, Query()) == ["on the dot", "alive", "gone", "long", "forever"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_pages_hold_each_once(self, backend: Any, limit: int) -> None:
        # Those that expire first are not those that changed first.
        heads = [put(backend, f"s{number}", float(number % 7), [None, 20.0 - number, 90.0][number % 3]) for number in range(30)]
        wanted = [head for head in heads if head.is_expired(18.0)]
        assert 5 < len(wanted) < 15
        wanted.sort(key=lambda head: (head.updated_at, head.session_id), reverse=True)
        assert every_page(backend, Query(expired_at=18.0), limit) == wanted

    def test_the_other_conditions_hold_too(self, backend: Any) -> None:
        above = Parent("above", "b", "r", 0)
        put(backend, "a1", 10.0, 1.0, fields={"agent_name": "A", "user_id": "u"})
        put(backend, "a2", 11.0, 1.0, fields={"agent_name": "A", "user_id": "v"})
        put(backend, "b1", 12.0, 1.0, fields={"agent_name": "B", "user_id": "u"}, parent=above)
        put(backend, "a3", 13.0, 90.0, fields={"agent_name": "A", "user_id": "u"}, parent=above)
        for conditions, found in (
            ({"agent_name": "A"}, ["a2", "a1"]),
            ({"user_id": "u"}, ["b1", "a1"]),
            ({"agent_name": "A", "user_id": "u"}, ["a1"]),
            ({"prefix": "a"}, ["a2", "a1"]),
            ({"since": 11.0}, ["b1", "a2"]),
            ({"until": 11.0}, ["a1"]),
            ({"parent_id": "above"}, ["b1"]),
        ):
            assert ids(backend, Query(expired_at=20.0, **conditions)) == found, conditions  # type: ignore[arg-type]

    def test_what_is_listed_follows_every_change(self, backend: Any) -> None:
        def expired() -> list[str]:
            return ids(backend, Query(expired_at=20.0))

        head = put(backend, "s", 2.5, 10.0)
        assert expired() == ["s"]
        assert backend.append("s", [record("a")], now=12.0, expect=None) is not None
        assert expired() == []
        for ttl, listed in ((5.0, ["s"]), (None, []), (6.0, ["s"]), (1e6, []), (7.0, ["s"])):
            head = backend.get_head("s")
            assert backend.put_head(replace(head, counter=head.counter + 1, ttl=ttl), expect=head.revision) is True
            assert expired() == listed
        assert backend.remove_head("s", head.run) is True
        assert expired() == []
        put(backend, "s", 12.0, None)
        assert expired() == []
