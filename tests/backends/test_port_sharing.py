"""The contract of the port, sentence by sentence: claims and marks of shared runs, and scopes that commit as one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.backends.samples import a_head, record
from turnlog.backends.port import Appended, Query
from turnlog.errors import ConflictError
from turnlog.heads import ClosedRun, Parent, Reference, Stretch
from turnlog.messages import Record

ODD = "odd \x00 \ud800"
PARENT = Parent(ODD, "pb", "r0", 4)


class TestClaims:
    def test_claims_are_kept_by_run(self, sharing: Any) -> None:
        sharing.put_head(a_head(ODD, "r1"), expect=None)
        sharing.put_head(a_head("t", "r2"), expect=None)
        claims = [Reference(ODD, "r1", f"c{number}\ud800", f"cr{number}", number) for number in range(3)]
        claims.append(Reference("t", "r2", "c", "cr9", 2**40))
        for claim in claims:
            assert sharing.add_reference(claim) is True
        assert sorted(sharing.references(ODD, "r1")) == claims[:3]
        assert sharing.references("t", "r2") == claims[3:]
        assert sorted(sharing.referenced_runs()) == sorted(claims)
        assert sharing.references("s", "nowhere") == []

    def test_a_claim_is_stored_once(self, sharing: Any) -> None:
        sharing.put_head(a_head(), expect=None)
        claim = Reference("s", "r1", "c", "cr", 5)
        assert sharing.add_reference(claim) is True
        assert sharing.add_reference(claim) is True
        assert sharing.referenced_runs() == [claim]

    def test_dropping_a_claim_leaves_the_others(self, sharing: Any) -> None:
        sharing.put_head(a_head(), expect=None)
        sharing.add_reference(Reference("s", "r1", "c", "cr", 5))
        sharing.add_reference(Reference("s", "r1", "d", "dr", 6))
        for _ in range(2):
            sharing.drop_reference("s", "r1", "cr")
            assert sharing.references("s", "r1") == [Reference("s", "r1", "d", "dr", 6)]

    def test_a_closed_run_takes_no_claim(self, sharing: Any) -> None:
        sharing.put_head(a_head(), expect=None)
        first = Reference("s", "r1", "c", "cr", 5)
        assert sharing.add_reference(first) is True
        sharing.mark_run("s", "r1", None, closed=False)
        assert sharing.add_reference(Reference("s", "r1", "d", "dr", 6)) is True
        sharing.mark_run("s", "r1", None, closed=True)
        assert sharing.add_reference(Reference("s", "r1", "e", "er", 7)) is False
        assert sorted(sharing.references("s", "r1")) == [first, Reference("s", "r1", "d", "dr", 6)]
        assert sharing.add_reference(Reference("t", "r2", "e", "er", 7)) is True


class TestMarks:
    def test_a_closed_run_stays_closed(self, sharing: Any) -> None:
        assert sharing.marked_runs() == []
        for closed, expected in ((False, False), (False, False), (True, True), (True, True), (False, True)):
            sharing.mark_run(ODD, "r1", PARENT, closed=closed)
            assert sharing.marked_runs() == [ClosedRun(ODD, "r1", PARENT, expected)]

    def test_marks_of_one_session(self, sharing: Any) -> None:
        sharing.mark_run("s", "r1", None, closed=False)
        sharing.mark_run("s", "r2", PARENT, closed=True)
        sharing.mark_run(ODD, "r3", None, closed=False)
        assert sorted(sharing.marked_runs("s")) == [ClosedRun("s", "r1", None, False), ClosedRun("s", "r2", PARENT, True)]
        assert sharing.marked_runs(ODD) == [ClosedRun(ODD, "r3", None, False)]
        assert sharing.marked_runs("t") == []
        assert len(sharing.marked_runs()) == 3

    def test_a_forgotten_run_is_unmarked(self, sharing: Any) -> None:
        sharing.mark_run("s", "r1", None, closed=True)
        sharing.mark_run("s", "r2", None, closed=True)
        for _ in range(2):
            sharing.forget_run("s", "r1")
            assert sharing.marked_runs() == [ClosedRun("s", "r2", None, True)]

    @pytest.mark.parametrize("records", [[], [record("m")]])
    def test_no_head_is_put_on_a_closed_run(self, sharing: Any, records: list[Record]) -> None:
        sharing.put_head(a_head(), expect=None)
        sharing.mark_run("t", "r9", None, closed=True)
        assert sharing.put_head(a_head("t", "r9"), expect=None, records=records) is False
        assert sharing.put_head(a_head("s", "r9"), expect="r1.0", records=records) is False
        assert sharing.get_head("t") is None
        assert sharing.get_head("s") == a_head()
        assert sharing.read("t", [Stretch("r9", 0, 9)]) == []

    def test_a_head_may_be_put_on_a_run_that_is_only_marked(self, sharing: Any) -> None:
        sharing.put_head(a_head(), expect=None)
        sharing.mark_run("s", "r1", None, closed=False)
        assert sharing.put_head(a_head(counter=1), expect="r1.0") is True
        sharing.mark_run("s", "r1", None, closed=True)
        assert sharing.put_head(a_head(counter=2), expect="r1.1") is False


class TestTogether:
    def test_a_scope_sees_what_it_wrote(self, backend: Any) -> None:
        with backend.together("s"):
            assert backend.put_head(a_head(), expect=None) is True
            done = backend.append("s", [record("a"), record("b")], now=3.0, expect=None)
            assert done == Appended(f"r1.{backend.counter(2)}", 2, False)
            assert backend.get_head("s").length == 2
            assert [r.id for r in backend.read("s", [Stretch("r1", 1, 2), Stretch("r1", 0, 1)])] == ["b", "a"]
            assert backend.put_row("s", "r1", "undo", "k", "1") is True
            assert backend.get_rows("s", "r1", "undo") == {"k": "1"}
            assert len(backend.list_heads(Query(prefix="s"), cursor=None, limit=5).heads) == 1
        assert backend.get_head("s").length == 2
        assert backend.get_rows("s", "r1", "undo") == {"k": "1"}

    def test_scopes_may_be_nested(self, backend: Any) -> None:
        with backend.together("s"):
            with backend.together("s"):
                assert backend.put_head(a_head(), expect=None) is True
            assert backend.append("s", [record("a")], now=3.0, expect=None) is not None
        assert backend.get_head("s").length == 1

    def test_a_conflict_inside_undoes_only_itself(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        two, three = backend.counter(2), backend.counter(2, 1)
        with backend.together("s"):
            backend.append("s", [record("a"), record("b")], now=3.0, expect=None)
            for batch in ([record("a", "other")], [record("c"), record("b", "other")], [record("c"), record("d"), record("c")]):
                with pytest.raises(ConflictError):
                    backend.append("s", batch, now=4.0, expect=None)
            assert backend.append("s", [record("b"), record("a")], now=4.0, expect=None) == Appended(f"r1.{two}", 2, True)
            with pytest.raises(ConflictError):
                backend.put_head(a_head("t", "r2", length=2), expect=None, records=[record("x"), record("x")])
            assert backend.append("s", [record("c")], now=5.0, expect=f"r1.{two}") == Appended(f"r1.{three}", 3, False)
        assert backend.get_head("s") == a_head(counter=three, length=3, updated_at=5.0)
        assert backend.get_head("t") is None
        assert [r.id for r in backend.read("s", [Stretch("r1", 0, 9)])] == ["a", "b", "c"]

    def test_an_error_undoes_the_whole_scope(self, one_commit: Any) -> None:
        one_commit.put_head(a_head(), expect=None)

        def fail() -> None:
            with one_commit.together("s"):
                one_commit.append("s", [record("a")], now=3.0, expect=None)
                one_commit.put_head(a_head("t", "r2"), expect=None)
                one_commit.put_row("s", "r1", "undo", "k", "1")
                with one_commit.together("s"):
                    one_commit.mark_run("s", "r1", None, closed=True)
                    one_commit.drop_records("s", "r1", 0, None)
                raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError, match="on purpose"):
            fail()
        assert one_commit.get_head("s") == a_head()
        assert one_commit.get_head("t") is None
        assert one_commit.get_rows("s", "r1", "undo") == {}
        assert one_commit.marked_runs() == []

    def test_nobody_sees_half_of_a_scope(self, one_commit: Any) -> None:
        one_commit.put_head(a_head(), expect=None)
        inside, go_on = threading.Event(), threading.Event()

        def change() -> None:
            with one_commit.together("s"):
                one_commit.append("s", [record("a")], now=3.0, expect=None)
                inside.set()
                go_on.wait(10)

        thread = threading.Thread(target=change)
        thread.start()
        assert inside.wait(10)
        assert one_commit.get_head("s") == a_head()
        assert one_commit.read("s", [Stretch("r1", 0, 9)]) == []
        go_on.set()
        thread.join()
        assert one_commit.get_head("s").length == 1
