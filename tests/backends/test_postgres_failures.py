"""PostgreSQL when things go wrong: answers that are lost, a refused account, refused content."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.backends.conftest import Driven
from tests.backends.lines import BehindALine, said
from tests.backends.samples import a_head, all_ids, record, records
from tests.servers.cut_line import CutLine
from tests.servers.postgres import new_schema, shared_url
from turnlog.backends.postgres import PostgresBackend
from turnlog.errors import BackendUnavailableError, StorageError
from turnlog.heads import Reference


@pytest.fixture
def engine() -> str:
    """The name of the database."""
    return "postgres"


class TestLostAnswers(BehindALine):
    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_new_head_is_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        line.cut(moment)
        assert behind.put_head(a_head("t", "r2", length=2), expect=None, records=records(0, 2)) is True
        assert line.cuts == 1
        assert beside.get_head("t") == a_head("t", "r2", length=2)
        assert all_ids(beside, "t", "r2") == ["m0", "m1"]

    def test_a_new_run_is_known_again_after_appends_to_it(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.put_head(a_head(run="r2"), expect="r1.0") is True
        assert all_ids(beside, run="r2") == ["other"]

    def test_what_cannot_be_decided_is_said(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        with pytest.raises(BackendUnavailableError, match="is not known") as caught:
            behind.put_head(a_head(counter=1, fields={"title": "T"}), expect="r1.0")
        assert caught.value.host == f"127.0.0.1:{line.port}"  # type: ignore[attr-defined]
        assert beside.get_head("s").length == 1

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_verbs_that_may_be_done_twice_are(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        beside.append("s", records(0, 2), now=3.0, expect=None)
        for verb in (
            lambda: [r.id for r in behind.read("s", [(a_head().run, 0, 9)])] == ["m0", "m1"],
            lambda: behind.put_row("s", "r1", "snapshot", "k", "1") is True,
            lambda: behind.add_reference(Reference("s", "r1", "c", "cr", 1)) is True,
            lambda: behind.mark_run("s", "r1", None, closed=False) is None,
            lambda: behind.drop_records("s", "r1", 0, 1) is None,
            lambda: behind.remove_head("s", "r1") is True,
        ):
            line.cut(moment)
            assert verb()
        assert line.cuts == 6
        assert (beside.get_head("s"), all_ids(beside)) == (None, ["m1"])

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_head_is_removed_as_expected_or_not_at_all(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        line.cut(moment)
        assert behind.remove_head("s", "r1", expect="r1.0") is True
        assert beside.get_head("s") is None
        beside.put_head(a_head(run="r2"), expect=None)
        line.cut("request", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.remove_head("s", "r2", expect="r2.0") is False
        assert all_ids(beside, run="r2") == ["other"]

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_fork_is_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        child, claim = a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0)
        line.cut(moment)
        assert behind.put_fork(child, claim, shed=0) == "stored"
        assert line.cuts == 1
        assert (beside.get_head("c"), beside.referenced_runs()) == (child, [claim])

    def test_a_fork_is_known_again_after_its_parent_has_moved(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        child, claim = a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0)
        line.cut("answer", lambda: beside.put_head(a_head(run="r2"), expect="r1.0"))
        assert behind.put_fork(child, claim, shed=0) == "stored"
        line.cut("request", lambda: beside.put_head(a_head(run="r3"), expect="r2.0"))
        assert behind.put_fork(a_head("d", "dr"), Reference("s", "r2", "d", "dr", 0), shed=0) == "moved"
        assert (beside.get_head("d"), beside.referenced_runs()) == (None, [claim])

    def test_a_name_that_another_took_meanwhile_is_taken(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("request", lambda: beside.put_head(a_head("c", "other"), expect=None))
        assert behind.put_fork(a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0), shed=0) == "taken"
        assert (beside.get_head("c").run, beside.referenced_runs()) == ("other", [])

    def test_a_fork_whose_line_breaks_again_is_an_error(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("request", lambda: line.cut("request"))
        with pytest.raises(BackendUnavailableError):
            behind.put_fork(a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0), shed=0)
        assert (beside.get_head("c"), beside.referenced_runs()) == (None, [])

    def test_a_draft_is_not_sent_twice(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer")
        with pytest.raises(BackendUnavailableError, match="may have been stored"):
            behind.put_row("s", "r1", "draft", "k", "1")
        assert beside.get_rows("s", "r1", "draft") == {"k": "1"}


class TestRefusals:
    def test_a_wrong_password_is_named_as_that(self) -> None:
        user, _, where = shared_url().partition("://")[2].rpartition("@")
        backend = Driven(PostgresBackend(f"postgresql://{user.partition(':')[0]}:sesame@{where}"))
        with pytest.raises(BackendUnavailableError, match="authentication failed") as caught:
            backend.get_head("s")
        assert "sesame" not in said(caught.value)

    def test_no_error_shows_what_was_to_be_stored(self) -> None:
        schema = new_schema()
        backend = Driven(PostgresBackend(shared_url(), schema=schema, durability="process"))
        backend.put_head(a_head(), expect=None)
        with psycopg.connect(shared_url(), autocommit=True) as other:
            other.execute(f"ALTER TABLE {schema}.records ADD CHECK (body NOT LIKE '%secret%')".encode())
        with pytest.raises(StorageError, match="23514") as caught:
            backend.append("s", [record("m0", "secret")], now=1.0, expect=None)
        assert "secret" not in str(caught.value)
        assert backend.get_head("s") == a_head()
        backend.close()
