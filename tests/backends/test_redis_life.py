"""How a Redis store lives: sessions that the server drops by itself, what that leaves, indexes mended, long batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record, records
from tests.servers.redis import new_prefix, running
from tests.servers.waiting import wait_until
from turnlog.backends.port import Query
from turnlog.backends.redis import RedisBackend, listing
from turnlog.errors import BackendUnavailableError, UnsupportedVerbError
from turnlog.heads import Head, Parent, Reference, Stretch
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.drive import drive
from turnlog.store.sync import SessionStore

CLAIM = Reference("s", "r1", "c", "cr", 3)


def a_child(session_id: str = "c", run: str = "cr", **values: Any) -> Head:
    """A fork of the first three messages of "s"."""
    return a_head(session_id, run, past=(Stretch("r1", 0, 3),), past_count=3, parent=Parent("s", "b", "r1", 2), **values)


def lives(bare: redis.Redis, prefix: str, *kinds: str) -> dict[str, int]:
    """What lies under the keys of some kinds: milliseconds until each goes by itself, -1 for those that stay."""
    names = [name for kind in kinds for name in bare.scan_iter(f"{{{prefix}.0}}:{kind}*", count=10_000)]
    return {name.decode().partition("}:")[2]: bare.pttl(name) for name in names}


class TestExpiry:
    """Sessions that the server drops: here at the very end of their ttl, elsewhere a minute later."""

    @pytest.fixture
    def backend(self, redis_again: Callable[..., Driven]) -> Driven:
        return redis_again(grace=0.0)

    def test_every_write_gives_all_keys_the_same_life(self, backend: Driven, redis_prefix: str, redis_client: redis.Redis) -> None:
        def alike(least: float, most: float) -> int:
            found = lives(redis_client, redis_prefix, "h:", "r:", "i:", "w:")
            assert all(least * 1000 <= life <= most * 1000 for life in found.values()), found
            return len(found)

        backend.put_head(a_head(ttl=1_000.0), expect=None)
        assert alike(900, 1_000) == 1
        backend.append("s", records(0, 2), now=3.0, expect=None)
        assert alike(900, 1_000) == 3
        for kind in ("snapshot", "undo", "path", "draft", "turn"):
            backend.put_row("s", "r1", kind, "k", "body")
        assert alike(900, 1_000) == 8
        backend.put_head(a_head(counter=2, length=2, ttl=5_000.0), expect="r1.1")
        assert alike(4_900, 5_000) == 8
        redis_client.pexpire(f"{{{redis_prefix}.0}}:h:s", 77_000)
        backend.append("s", [record("later")], now=4.0, expect=None)
        assert alike(4_900, 5_000) == 8
        backend.put_head(a_head(counter=4, length=3), expect="r1.3")
        assert set(lives(redis_client, redis_prefix, "h:", "r:", "i:", "w:").values()) == {-1}
        backend.put_head(a_head(counter=5, length=1, run="r2", ttl=1e300), expect="r1.4", records=[record("new")])
        assert lives(redis_client, redis_prefix, "h:s", "r:r2", "i:r2").keys() == {"h:s", "r:r2", "i:r2"}
        assert min(lives(redis_client, redis_prefix, "h:s", "r:r2", "i:r2").values()) > 1e15 - 1e9

    def test_it_goes_by_itself_and_listing_takes_out_what_is_left(
        self, backend: Driven, redis_prefix: str, redis_client: redis.Redis
    ) -> None:
        fields = {"agent_name": "A", "user_id": "u"}
        backend.put_head(a_head("stays", "r0", fields=fields), expect=None)
        backend.put_head(a_head(fields=fields, ttl=0.05, updated_at=9.0), expect=None)
        backend.append("s", records(0, 5), now=9.0, expect=None)
        backend.put_row("s", "r1", "undo", "k", "body")
        wait_until(lambda: not redis_client.exists(f"{{{redis_prefix}.0}}:h:s"), lambda: "the session does not expire")
        assert not lives(redis_client, redis_prefix, "r:", "i:", "w:")
        assert backend.get_head("s") is None
        assert redis_client.zscore(f"{{{redis_prefix}.0}}:x:e", "s") == 9.05
        for query in (Query(agent_name="A"), Query(user_id="u"), Query(prefix="s"), Query()):
            assert [head.session_id for head in backend.list_heads(query, cursor=None, limit=1).heads] == ["stays"]
        for name in ("x:t", "x:n", "x:a:A", "x:u:u"):
            assert redis_client.zrange(f"{{{redis_prefix}.0}}:{name}", 0, -1) == [b"stays"], name
        assert not redis_client.exists(f"{{{redis_prefix}.0}}:x:e")

    @pytest.mark.parametrize("query", [Query(), Query(prefix="s"), Query(expired_at=99.0)])
    def test_pages_go_on_over_what_has_gone(self, backend: Driven, redis_prefix: str, redis_client: redis.Redis, query: Query) -> None:
        for number in range(40):
            ttl = 5.0 if number % 4 == 0 else 0.05
            backend.put_head(a_head(f"s{number:02}", f"r{number}", updated_at=float(number), ttl=ttl), expect=None)
        wait_until(lambda: len(lives(redis_client, redis_prefix, "h:")) == 10, lambda: "the sessions do not expire")
        found, cursor = [], None
        while True:
            page = backend.list_heads(query, cursor=cursor, limit=3)
            found += [head.session_id for head in page.heads]
            if (cursor := page.cursor) is None:
                break
        assert found == [f"s{number:02}" for number in range(36, -1, -4)]

    @pytest.mark.parametrize("limit", [1, 4, 100])
    def test_many_expired_sessions_are_looked_at_in_parts(self, redis_again: Any, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        monkeypatch.setattr(listing, "RARE", 7)
        backend = redis_again()
        # Those that changed last are not those that expire last.
        heads = [a_head(f"s{n}", f"r{n}", updated_at=float(n * 37 % 60), ttl=float(1 + n * 11 % 40)) for n in range(60)]
        for head in heads:
            backend.put_head(head, expect=None)
        found: list[Head] = []
        cursor = None
        while True:
            page = backend.list_heads(Query(expired_at=55.0), cursor=cursor, limit=limit)
            found, cursor = found + page.heads, page.cursor
            if cursor is None:
                break
        wanted = [head for head in heads if head.is_expired(55.0)]
        assert 20 < len(wanted) < 50
        assert found == sorted(wanted, key=lambda head: (head.updated_at, head.session_id), reverse=True)

    def test_a_new_life_begins_where_one_went_by_itself(self, backend: Driven, redis_prefix: str, redis_client: redis.Redis) -> None:
        backend.put_head(a_head(fields={"agent_name": "A"}, ttl=0.05), expect=None)
        wait_until(lambda: not redis_client.exists(f"{{{redis_prefix}.0}}:h:s"), lambda: "the session does not expire")
        assert backend.append("s", records(0, 1), now=2.5, expect=None) is None
        assert backend.put_head(a_head(run="r2", length=1), expect=None, records=records(0, 1)) is True
        assert backend.list_heads(Query(agent_name="A"), cursor=None, limit=9).heads == []
        assert backend.list_heads(Query(expired_at=1e9), cursor=None, limit=9).heads == []
        backend.marked_runs()
        assert {*lives(redis_client, redis_prefix, "x:")} == {"x:t", "x:n"}

    @pytest.mark.parametrize("step", ["put_fork", "add_reference"])
    def test_a_claimed_session_stays_until_the_last_claim_goes(
        self, backend: Driven, redis_prefix: str, redis_client: redis.Redis, step: str
    ) -> None:
        backend.put_head(a_head(ttl=1_000.0), expect=None)
        backend.append("s", records(0, 3), now=3.0, expect=None)
        backend.put_row("s", "r1", "path", "k", "body")
        of_s = ("h:s", "r:r1", "i:r1", "w:path:r1")
        assert min(lives(redis_client, redis_prefix, *of_s).values()) > 0
        for number, name in enumerate(("c", "d")):
            claim = Reference("s", "r1", name, f"{name}r", 3)
            if step == "put_fork":
                assert backend.put_fork(a_child(name, f"{name}r", ttl=500.0), claim, shed=0) == "stored"
                assert 0 < lives(redis_client, redis_prefix, f"h:{name}")[f"h:{name}"] <= 500_000
            else:
                assert backend.add_reference(claim) is True
            assert lives(redis_client, redis_prefix, *of_s) == dict.fromkeys(of_s, -1)
            backend.append("s", [record(f"more{number}")], now=4.0, expect=None)
            backend.put_head(replace(backend.get_head("s"), counter=2 * number + 3), expect=f"r1.{2 * number + 2}")
            assert lives(redis_client, redis_prefix, *of_s) == dict.fromkeys(of_s, -1)
        backend.drop_reference("s", "r1", "cr")
        assert lives(redis_client, redis_prefix, *of_s) == dict.fromkeys(of_s, -1)
        backend.drop_reference("s", "r1", "dr")
        assert all(900_000 < life <= 1_000_000 for life in lives(redis_client, redis_prefix, *of_s).values())

    def test_a_claimed_run_that_its_session_left_stays(self, backend: Driven, redis_prefix: str, redis_client: redis.Redis) -> None:
        backend.put_head(a_head(ttl=0.2), expect=None)
        backend.append("s", records(0, 3), now=2.5, expect=None)
        backend.put_head(a_head(run="r2", ttl=0.2), expect="r1.1")
        assert backend.add_reference(CLAIM) is True
        wait_until(lambda: not redis_client.exists(f"{{{redis_prefix}.0}}:h:s"), lambda: "the session does not expire")
        assert all_ids(backend) == ["m0", "m1", "m2"]

    def test_a_fork_that_goes_by_itself_leaves_a_claim_that_the_sweep_drops(
        self, backend: Driven, redis_prefix: str, redis_client: redis.Redis
    ) -> None:
        store = SessionStore(backend.backend)
        backend.put_head(a_head(length=3), expect=None, records=records(0, 3))
        assert backend.put_fork(a_child(ttl=0.05), CLAIM, shed=0) == "stored"
        wait_until(lambda: not redis_client.exists(f"{{{redis_prefix}.0}}:h:c"), lambda: "the fork does not expire")
        store.delete_session("s")
        assert all_ids(backend) == ["m0", "m1", "m2"]
        for _ in range(2):
            store.sweep()
        assert all_ids(backend) == []
        assert backend.referenced_runs() == backend.marked_runs() == []
        left = {name.decode().partition("}:")[2][:2] for name in redis_client.scan_iter(f"{{{redis_prefix}.0}}*")}
        assert left <= {"n", "z:"}

    def test_a_fork_that_goes_by_itself_amid_the_sweep_leaves_no_mark(
        self, backend: Driven, redis_prefix: str, redis_client: redis.Redis
    ) -> None:
        class Slow(AsyncSessionStore):
            async def _erase_all(self, query: Query, *, only_if_unchanged: bool) -> int:
                assert backend.put_fork(a_child(ttl=0.3), CLAIM, shed=0) == "stored"
                return 0

            async def _collect(self, session_id: str, run: str, parent: Parent | None) -> None:
                wait_until(lambda: not redis_client.exists(f"{{{redis_prefix}.0}}:h:c"), lambda: "the fork does not expire")
                await super()._collect(session_id, run, parent)

        backend.put_head(a_head(length=3), expect=None, records=records(0, 3))
        backend.mark_run("other", "that left", None, closed=True)
        drive(Slow(backend.backend, hop=False).sweep())
        assert backend.marked_runs() == []
        assert backend.references("s", "r1") == backend.referenced_runs() == []

    @pytest.mark.parametrize("how", ["unborn", "erased by somebody", "forked itself", "gone"])
    def test_only_claims_of_forks_that_nobody_knows_are_dropped(
        self, backend: Driven, redis_prefix: str, redis_client: redis.Redis, how: str
    ) -> None:
        backend.put_head(a_head(length=3), expect=None, records=records(0, 3))
        if how == "unborn":
            backend.add_reference(CLAIM)
        else:
            assert backend.put_fork(a_child(), CLAIM, shed=0) == "stored"
        if how == "erased by somebody":
            backend.mark_run("c", "cr", a_child().parent, closed=False)
        if how == "forked itself":
            backend.add_reference(Reference("c", "cr", "g", "gr", 0))
        backend.marked_runs()
        assert backend.references("s", "r1") == [CLAIM]
        redis_client.delete(f"{{{redis_prefix}.0}}:h:c")
        backend.marked_runs()
        assert backend.references("s", "r1") == ([] if how == "gone" else [CLAIM])

    def test_clocks_may_be_a_minute_apart(self, redis_again: Callable[..., Driven], redis_prefix: str, redis_client: redis.Redis) -> None:
        redis_again().put_head(a_head(ttl=10.0), expect=None)
        assert 69_000 < lives(redis_client, redis_prefix, "h:")["h:s"] <= 70_000

    @pytest.mark.parametrize("grace", [-1.0, float("inf"), float("nan")])
    def test_a_grace_that_is_no_time_is_refused(self, grace: float) -> None:
        with pytest.raises(UnsupportedVerbError, match="grace"):
            RedisBackend("redis://h", grace=grace)


class TestMending:
    @pytest.mark.parametrize("odd", ["", "a*b[c]?\\d "])
    def test_the_sweep_brings_back_lost_entries_and_takes_out_wrong_ones(
        self, redis_again: Any, redis_client: redis.Redis, odd: str
    ) -> None:
        prefix = odd + new_prefix()
        backend = redis_again(prefix=prefix, shards=3)
        other = redis_again(prefix=prefix + ".0")
        other.put_head(a_head("other", "ro"), expect=None)
        store = SessionStore(backend.backend)
        for number in range(1_200):
            fields = {"agent_name": f"A{number % 3}", "user_id": f"u\ud800{number % 4}"}
            ttl = 100.0 if number % 5 == 0 else None
            parent = Parent("s0", "b", "r0", 2) if number % 7 == 1 else None
            head = a_head(f"s{number}", f"r{number}", fields=fields, ttl=ttl, parent=parent, updated_at=2e9 + number)
            backend.put_head(head, expect=None)
        queries = [
            Query(),
            Query(prefix="s11"),
            Query(agent_name="A1"),
            Query(user_id="u\ud8002"),
            Query(parent_id="s0"),
            Query(expired_at=2e9 + 900),
            Query(agent_name="A9"),
        ]

        def listed() -> list[list[str]]:
            return [[head.session_id for head in backend.list_heads(query, cursor=None, limit=2_000).heads] for query in queries]

        def indexes() -> dict[bytes, Any]:
            begins = tuple(f"{base}x:".encode() for base in backend.backend._keys.bases)
            names = [name for name in redis_client.scan_iter(count=10_000) if name.startswith(begins)]
            return {name: redis_client.zrange(name, 0, -1, withscores=True) for name in names}

        before, kept = listed(), indexes()
        assert [len(each) for each in before] == [1_200, 111, 400, 300, 172, 161, 0]
        for index in kept:
            redis_client.zrem(index, *[member for number, (member, _) in enumerate(kept[index]) if number % 3 == 0 or b"x:p" in index])
            redis_client.zadd(index, {"ghost": 5.0, **({"s7": 3.0} if b":x:a:A2" in index or b":x:e" in index else {})})
        redis_client.zadd(f"{{{prefix}.0}}:x:a:A9", {"s1": 3.0})
        assert listed() != before
        store.sweep()
        assert listed() == before
        assert indexes() == kept
        assert other.get_head("other") is not None

    def test_all_heads_are_looked_at_once_an_hour_and_before_files_are_written_anew(self, redis_prefix: str) -> None:
        with running("valkey") as server, server.client() as client:
            backend = Driven(RedisBackend(server.url, prefix=redis_prefix))
            store = SessionStore(backend.backend)
            backend.put_head(a_head(updated_at=2e9), expect=None)
            for compact, found in ((False, 1), (False, 0), (True, 1)):
                client.delete(f"{{{redis_prefix}.0}}:x:t")
                store.sweep(compact=compact)
                assert client.zcard(f"{{{redis_prefix}.0}}:x:t") == found
            assert 3_590 < client.ttl(f"{{{redis_prefix}}}:mended") <= 3_600
            client.delete(f"{{{redis_prefix}.0}}:x:t", f"{{{redis_prefix}}}:mended")
            store.sweep()
            assert client.zcard(f"{{{redis_prefix}.0}}:x:t") == 1
            backend.close()

    def test_an_entry_lost_of_the_time_hides_nothing_from_a_prefix(
        self, redis_again: Callable[..., Driven], redis_prefix: str, redis_client: redis.Redis
    ) -> None:
        backend = redis_again()
        backend.put_head(a_head(), expect=None)
        redis_client.delete(f"{{{redis_prefix}.0}}:x:t")
        assert backend.list_heads(Query(prefix="s"), cursor=None, limit=5).heads == [a_head()]
        backend.append("s", records(0, 1), now=3.0, expect=None)
        assert len(backend.list_heads(Query(), cursor=None, limit=5).heads) == 1


class TestForks:
    def test_a_fork_is_one_script(self, redis_again: Callable[..., Driven]) -> None:
        with running("valkey") as server, server.client() as client:
            backend = Driven(RedisBackend(server.url, shards=4))
            backend.put_head(a_head(length=3), expect=None, records=records(0, 3))
            names = [f"c{number}" for number in range(9)]
            for name in names:
                if name == "c1":
                    client.config_resetstat()
                claim = Reference("s", "r1", name, f"{name}r", 3)
                assert backend.put_fork(a_child(name, f"{name}r"), claim, shed=0) == "stored"
            assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 8
            assert sorted(each.child_id for each in backend.references("s", "r1")) == names
            backend.close()


class TestLongBatches:
    def test_nine_thousand_messages_are_one_batch(self, redis_again: Callable[..., Driven]) -> None:
        backend = redis_again()
        backend.put_head(a_head(), expect=None)
        assert backend.append("s", records(0, 9_000), now=3.0, expect="r1.0").messages == 9_000
        assert all_ids(backend) == [f"m{number}" for number in range(9_000)]
        assert backend.append("s", records(0, 9_000), now=4.0, expect="r1.0").known is True
        fresh = a_head("t", "r2", length=9_000)
        assert backend.put_head(fresh, expect=None, records=records(0, 9_000)) is True
        assert len(all_ids(backend, "t", "r2")) == 9_000

    def test_a_batch_is_whole_or_absent_after_a_kill(self, redis_prefix: str) -> None:
        with running("valkey", "--appendonly", "yes", "--appendfsync", "always") as server:
            backend = Driven(RedisBackend(server.url, prefix=redis_prefix))
            backend.put_head(a_head(), expect=None)
            acknowledged = 0
            for number in range(6):
                batch = records(9_000 * number, 9_000 * (number + 1))
                killing = threading.Timer(0.004 + 0.012 * number, server.kill)
                killing.start()
                try:
                    acknowledged += backend.append("s", batch, now=3.0, expect=None) is not None
                except BackendUnavailableError:
                    acknowledged += 0
                killing.join()
                server.start()
                stored = all_ids(backend)
                assert len(stored) == backend.get_head("s").length
                assert len(stored) % 9_000 == 0
                assert len(stored) >= 9_000 * acknowledged
            backend.close()
