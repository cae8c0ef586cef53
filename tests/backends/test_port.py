"""The contract of the port, sentence by sentence, on every backend: heads, records and rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.backends.samples import a_head, all_ids, record, records
from turnlog.backends.port import Appended, Backend, SharedRuns
from turnlog.errors import ConflictError, InvalidMessageError
from turnlog.heads import Parent, PathRef, Stretch
from turnlog.messages import Record, encode_message

HOSTILE_IDS = [
    "a/b", "a_b", "A_B", "a b", "../../etc/passwd", ".", "CON", "", "%", "_", "'; DROP TABLE heads; --", "naïve", "nai\u0308ve", "😀",
    "\x00", "a\x00", "a\x00b", "\x01", "\x01\x01", "\x01\x02", "a\x01", "\ud800", "\udfff", "\ud83d\ude00", "\ue000", "\ue000\u0100",
    "\ue000\ue000", "\ue001", "\U0010ffff", "\n", "x" * 1024,
]  # fmt: skip


RICH = a_head(
    "s",
    counter=17,
    length=300,
    past=(Stretch("r0", 5, 9), Stretch("r1", 0, 40)),
    past_count=244,
    path=PathRef("r0", "page"),
    tail=100,
    shed=3,
    undo="u1",
    parent=Parent("above \ud800\x00", "pb", "r0", 243),
    fields={
        "title": "T 😀 \ud800 \x00",
        "agent_name": "A\x00",
        "user_id": "U\ud800",
        "metadata": {"deep": [1, 2.5, None, True, {"k": "v"}]},
    },
)


def test_a_backend_is_what_it_says(backend: Any) -> None:
    assert isinstance(backend.backend, Backend)
    assert isinstance(backend.backend, SharedRuns) is not backend.backend.copies


class TestHeads:
    def test_a_missing_session_has_no_head(self, backend: Any) -> None:
        assert backend.get_head("s") is None

    def test_a_head_comes_back_as_it_was_given(self, sharing: Any) -> None:
        assert sharing.put_head(RICH, expect=None) is True
        assert sharing.get_head("s") == RICH

    def test_an_existing_session_refuses_a_first_head(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        assert backend.put_head(a_head(run="r2", fields={"title": "other"}), expect=None) is False
        assert backend.get_head("s") == a_head()

    def test_a_missing_session_refuses_a_later_head(self, backend: Any) -> None:
        assert backend.put_head(a_head(), expect="r1.0") is False
        assert backend.get_head("s") is None

    @pytest.mark.parametrize("stale", ["r1.4", "r1.6", "r2.5", "r1", "5", "", "r1.5 ", "r1.05", "r1.5.0", "\ud800", "\x00", "r1.\u0665"])
    def test_compare_and_set_compares_the_whole_revision(self, backend: Any, stale: str) -> None:
        backend.put_head(a_head(counter=5), expect=None)
        changed = a_head(counter=6, fields={"title": "T"})
        assert backend.put_head(changed, expect=stale) is False
        assert backend.get_head("s") == a_head(counter=5)
        assert backend.put_head(changed, expect="r1.5") is True
        assert backend.get_head("s") == changed

    def test_a_new_run_can_take_the_place_of_the_old(self, backend: Any) -> None:
        backend.put_head(a_head(length=2), expect=None, records=records(0, 2))
        assert backend.put_head(a_head(run="r2", length=1), expect="r1.0", records=[record("other")]) is True
        assert backend.get_head("s") == a_head(run="r2", length=1)
        assert all_ids(backend, run="r2") == ["other"]
        # The ids of the run before are free again.
        assert backend.append("s", records(0, 2), now=3.0, expect=None) == Appended(f"r2.{backend.counter(2)}", 3, False)

    def test_records_come_with_the_head(self, backend: Any) -> None:
        assert backend.put_head(a_head(length=3), expect=None, records=records(0, 3)) is True
        assert backend.read("s", [Stretch("r1", 0, 3)]) == [r._replace(seq=seq) for seq, r in enumerate(records(0, 3))]
        assert backend.append("s", [record("m3")], now=3.0, expect=None) == Appended("r1.1", 4, False)
        assert all_ids(backend) == ["m0", "m1", "m2", "m3"]

    def test_records_do_not_come_without_the_head(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        assert backend.put_head(a_head(run="r2", length=2), expect=None, records=records(0, 2)) is False
        assert backend.put_head(a_head(run="r2", length=2), expect="r1.9", records=records(0, 2)) is False
        assert all_ids(backend, run="r2") == []

    @pytest.mark.parametrize("expect", [None, "r1.0"])
    def test_two_records_of_one_id_are_refused_with_the_head(self, backend: Any, expect: str | None) -> None:
        if expect:
            backend.put_head(a_head(), expect=None)
        before = backend.get_head("s")
        with pytest.raises(ConflictError):
            backend.put_head(a_head(run="r2", length=3), expect=expect, records=[*records(0, 2), record("m0", "other")])
        assert backend.get_head("s") == before
        assert all_ids(backend, run="r2") == []

    def test_nothing_is_shared_with_the_caller(self, backend: Any) -> None:
        fields = {"metadata": {"list": [1]}}
        backend.put_head(a_head(fields=fields), expect=None)
        fields["metadata"]["list"].append(2)
        backend.get_head("s").fields["metadata"]["list"].append(3)
        assert backend.get_head("s").fields == {"metadata": {"list": [1]}}

    def test_fields_that_json_cannot_hold_are_refused(self, backend: Any) -> None:
        with pytest.raises(InvalidMessageError):
            backend.put_head(a_head(fields={"metadata": {"x": float("nan")}}), expect=None)
        assert backend.get_head("s") is None

    def test_removing_asks_for_the_run(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        assert backend.remove_head("s", "r0") is False
        assert backend.get_head("s") == a_head()
        assert backend.remove_head("s", "r1") is True
        assert backend.get_head("s") is None
        assert backend.remove_head("s", "r1") is False

    def test_no_two_ids_meet(self, backend: Any) -> None:
        heads = {name: a_head(name, run=f"run-{number}") for number, name in enumerate(HOSTILE_IDS)}
        for name, head in heads.items():
            assert backend.put_head(head, expect=None) is True
            assert backend.append(name, [record(f"of {head.run}")], now=9.0, expect=None) == Appended(f"{head.run}.1", 1, False)
        for name, head in heads.items():
            assert backend.get_head(name) == replace(head, counter=1, length=1, updated_at=9.0)
            assert all_ids(backend, name, head.run) == [f"of {head.run}"]


class TestAppend:
    def test_a_missing_session_takes_nothing(self, backend: Any) -> None:
        assert backend.append("s", records(0, 2), now=3.0, expect=None) is None
        assert backend.append("s", records(0, 2), now=3.0, expect="r1.0") is None
        assert backend.get_head("s") is None

    def test_records_stand_in_order_at_the_end(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        assert backend.append("s", records(0, 1), now=3.0, expect=None) == Appended("r1.1", 1, False)
        counter = backend.counter(1, 3)
        assert backend.append("s", records(1, 4), now=4.0, expect=None) == Appended(f"r1.{counter}", 4, False)
        assert backend.get_head("s") == a_head(counter=counter, length=4, updated_at=4.0)
        assert backend.read("s", [Stretch("r1", 0, 4)]) == [r._replace(seq=seq) for seq, r in enumerate(records(0, 4))]

    def test_the_count_is_that_of_the_kept_history(self, sharing: Any) -> None:
        sharing.put_head(RICH, expect=None)
        done = sharing.append("s", records(0, 2), now=3.0, expect=None)
        assert done == Appended("r1.18", RICH.count + 2, False)
        head = sharing.get_head("s")
        assert (head.revision, head.count) == done[:2]
        assert head == replace(RICH, counter=18, length=302, updated_at=3.0)
        assert [r.seq for r in sharing.read("s", [Stretch("r1", 290, 310)])] == [300, 301]

    def test_content_comes_back_exactly(self, backend: Any) -> None:
        given = [
            encode_message(
                {"role": "user", "content": 'nul \x00, lone \ud800, pair 😀, quote ", break \u2028', "metadata": {"k\x00": "\udfff"}}
            ),
            encode_message(
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "args": [1, 2.5, None]}], "id": "ids are ü 😀"}
            ),
            encode_message({"role": "user", "content": "x" * 3_000_000, "timestamp": 12}),
        ]
        backend.put_head(a_head(), expect=None)
        backend.append("s", given, now=3.0, expect=None)
        assert [r[1:] for r in backend.read("s", [Stretch("r1", 0, 3)])] == [r[1:] for r in given]

    def test_an_empty_batch_writes_nothing(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        assert backend.append("s", [], now=3.0, expect=None) == Appended("r1.0", 0, True)
        assert backend.get_head("s") == a_head()

    @pytest.mark.parametrize("size", [1, 3])
    @pytest.mark.parametrize("expect", [None, "r1.1", "r1.2", "stale"])
    def test_a_known_batch_is_a_success_whatever_was_expected(self, backend: Any, size: int, expect: str | None) -> None:
        backend.put_head(a_head(), expect=None)
        backend.append("s", records(0, size), now=3.0, expect=None)
        backend.append("s", [record("later")], now=4.0, expect=None)
        before = backend.get_head("s")
        again = [r._replace(time=99.0) for r in records(0, size)]
        assert backend.append("s", again, now=5.0, expect=expect) == Appended(f"r1.{backend.counter(size, 1)}", size + 1, True)
        assert backend.get_head("s") == before
        assert len(all_ids(backend)) == size + 1

    @pytest.mark.parametrize("expect", [None, "r1.1", "stale"])
    @pytest.mark.parametrize(
        "batch",
        [
            pytest.param([record("m0", "other")], id="other body"),
            pytest.param([record("m0", meta="{}")], id="other meta"),
            pytest.param([record("m0"), record("m1", "other")], id="one other body of two"),
            pytest.param([record("m0"), record("new")], id="known in part, first"),
            pytest.param([record("new"), record("m1")], id="known in part, last"),
            pytest.param([record("new"), record("newer"), record("new")], id="one id twice, new"),
            pytest.param([record("m0"), record("m0")], id="one id twice, known"),
        ],
    )
    def test_a_batch_that_contradicts_what_is_stored_is_a_conflict(self, backend: Any, batch: list[Record], expect: str | None) -> None:
        backend.put_head(a_head(), expect=None)
        backend.append("s", records(0, 2), now=3.0, expect=None)
        before = backend.get_head("s")
        with pytest.raises(ConflictError) as caught:
            backend.append("s", batch, now=4.0, expect=expect)
        assert caught.value.actual == f"r1.{backend.counter(2)}"  # type: ignore[attr-defined]
        assert caught.value.session_id == "s"
        assert backend.get_head("s") == before
        assert all_ids(backend) == ["m0", "m1"]
        assert backend.append("s", [record("new")], now=5.0, expect=None) == Appended(f"r1.{backend.counter(2, 1)}", 3, False)

    def test_the_right_expectation_is_met(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        assert backend.append("s", records(0, 1), now=3.0, expect="r1.0") == Appended("r1.1", 1, False)
        assert backend.append("s", records(1, 3), now=3.0, expect="r1.1") == Appended(f"r1.{backend.counter(1, 2)}", 3, False)

    @pytest.mark.parametrize("stale", ["r1.0", "r1.2", "r2.1", "", "r1.1 ", "\ud800", "\x00"])
    def test_another_expectation_is_a_conflict(self, backend: Any, stale: str) -> None:
        backend.put_head(a_head(), expect=None)
        backend.append("s", records(0, 1), now=3.0, expect=None)
        with pytest.raises(ConflictError) as caught:
            backend.append("s", records(1, 3), now=4.0, expect=stale)
        assert (caught.value.expected, caught.value.actual) == (stale, "r1.1")  # type: ignore[attr-defined]
        assert all_ids(backend) == ["m0"]

    def test_no_error_shows_content(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        backend.append("s", [record("m0", "secret")], now=3.0, expect=None)
        with pytest.raises(ConflictError) as caught:
            backend.append("s", [record("m0", "hidden")], now=3.0, expect=None)
        assert "secret" not in str(caught.value)
        assert "hidden" not in str(caught.value)


class TestRead:
    def test_spans_come_in_the_order_given(self, backend: Any) -> None:
        backend.put_head(a_head(length=9), expect=None, records=records(0, 9))
        spans = [Stretch("r1", 6, 8), Stretch("r1", 0, 2), Stretch("r1", 1, 3), Stretch("r1", 4, 4)]
        assert [r.seq for r in backend.read("s", spans)] == [6, 7, 0, 1, 1, 2]
        assert backend.read("s", []) == []

    def test_what_is_not_there_is_left_out(self, backend: Any) -> None:
        backend.put_head(a_head(length=3), expect=None, records=records(0, 3))
        assert [r.seq for r in backend.read("s", [Stretch("nowhere", 0, 5), Stretch("r1", 2, 50), Stretch("r1", 70, 90)])] == [2]

    def test_spans_may_name_runs_of_other_sessions(self, sharing: Any) -> None:
        sharing.put_head(a_head("s", "r1", length=3), expect=None, records=records(0, 3))
        sharing.put_head(a_head("t", "r2", length=3), expect=None, records=records(3, 6))
        spans = [Stretch("r1", 1, 3), Stretch("r2", 0, 2), Stretch("r1", 0, 1)]
        assert [r.id for r in sharing.read("t", spans)] == ["m1", "m2", "m3", "m4", "m0"]

    def test_erased_records_are_gone_and_their_places_stay_empty(self, sharing: Any) -> None:
        sharing.put_head(a_head("t", "r2", length=6), expect=None, records=records(0, 6))
        sharing.put_head(a_head(length=6), expect=None, records=records(0, 6))
        sharing.drop_records("s", "r1", 1, 3)
        assert all_ids(sharing) == ["m0", "m3", "m4", "m5"]
        sharing.drop_records("s", "r1", 1, 3)
        sharing.drop_records("s", "r1", 5, None)
        assert all_ids(sharing) == ["m0", "m3", "m4"]
        assert sharing.append("s", [record("m6")], now=3.0, expect=None) == Appended("r1.1", 7, False)
        sharing.drop_records("s", "r1", 0, None)
        assert all_ids(sharing) == []
        assert sharing.append("s", [record("m7")], now=3.0, expect=None) == Appended("r1.2", 8, False)
        assert [r.seq for r in sharing.read("s", [Stretch("r1", 0, 99)])] == [7]
        assert all_ids(sharing, "t", "r2") == ["m0", "m1", "m2", "m3", "m4", "m5"]
        sharing.drop_records("s", "nowhere", 0, None)

    def test_a_run_outlives_its_head_until_it_is_dropped(self, sharing: Any) -> None:
        sharing.put_head(a_head(length=2), expect=None, records=records(0, 2))
        sharing.remove_head("s", "r1")
        sharing.put_head(a_head(run="r2", length=1), expect=None, records=[record("m0", "other")])
        assert all_ids(sharing, run="r1") == ["m0", "m1"]
        sharing.drop_records("s", "r1", 0, None)
        assert all_ids(sharing, run="r1") == []
        assert all_ids(sharing, run="r2") == ["m0"]


class TestRows:
    def test_rows_come_in_the_order_of_first_storing(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        for key in ("z", "a", "m", "k\ud800\x00"):
            assert backend.put_row("s", "r1", "snapshot", key, f'"{key!a}"') is True
        assert backend.put_row("s", "r1", "snapshot", "z", '"again"') is True
        rows = backend.get_rows("s", "r1", "snapshot")
        assert list(rows) == ["z", "a", "m", "k\ud800\x00"]
        assert rows["z"] == '"again"'

    def test_rows_are_found_by_key(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        for number in range(9):
            backend.put_row("s", "r1", "undo", f"k{number}", str(number))
        assert backend.get_rows("s", "r1", "undo", ["k7", "missing", "k2"]) == {"k2": "2", "k7": "7"}
        assert list(backend.get_rows("s", "r1", "undo", ["k7", "k2"])) == ["k2", "k7"]
        assert backend.get_rows("s", "r1", "undo", ["k4"]) == {"k4": "4"}
        assert backend.get_rows("s", "r1", "undo", []) == {}
        assert backend.get_rows("s", "r1", "path") == {}

    def test_a_row_needs_the_run_to_be_the_sessions(self, backend: Any) -> None:
        assert backend.put_row("s", "r1", "path", "k", "1") is False
        backend.put_head(a_head(), expect=None)
        assert backend.put_row("s", "r2", "path", "k", "1") is False
        assert backend.put_row("s", "r1", "path", "k", "1") is True
        backend.put_head(a_head(run="r2"), expect="r1.0")
        assert backend.put_row("s", "r1", "path", "k", "2") is False
        assert backend.get_rows("s", "r2", "path") == {}

    def test_rows_of_a_run_that_left_stay_until_they_are_dropped(self, sharing: Any) -> None:
        sharing.put_head(a_head(), expect=None)
        sharing.put_row("s", "r1", "path", "k", "1")
        sharing.remove_head("s", "r1")
        assert sharing.get_rows("s", "r1", "path") == {"k": "1"}
        sharing.drop_rows("s", "r1")
        assert sharing.get_rows("s", "r1", "path") == {}

    def test_dropping_by_key_by_kind_and_all(self, backend: Any) -> None:
        backend.put_head(a_head(), expect=None)
        backend.put_head(a_head("t", "r2"), expect=None)
        for session_id, run in (("s", "r1"), ("t", "r2")):
            for kind in ("snapshot", "undo", "path", "draft"):
                for key in ("a", "b", "c"):
                    backend.put_row(session_id, run, kind, key, kind + key)
        backend.drop_rows("s", "r1", "snapshot", ["a", "c", "missing"])
        backend.drop_rows("s", "r1", "snapshot", [])
        assert backend.get_rows("s", "r1", "snapshot") == {"b": "snapshotb"}
        backend.drop_rows("s", "r1", "undo")
        assert backend.get_rows("s", "r1", "undo") == {}
        assert list(backend.get_rows("s", "r1", "path")) == ["a", "b", "c"]
        backend.drop_rows("s", "r1")
        for kind in ("snapshot", "path", "draft"):
            assert backend.get_rows("s", "r1", kind) == {}
            assert list(backend.get_rows("t", "r2", kind)) == ["a", "b", "c"]
        backend.drop_rows("s", "r1")
