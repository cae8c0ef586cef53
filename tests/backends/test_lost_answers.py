"""Answers that are lost, on each of the databases: what was sent again is stored once. And a child of a fork, which connects anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.backends.lines import ENGINES, FORKING, BehindALine, Pair
from tests.backends.samples import a_head, all_ids, record, records
from tests.servers import mongodb, postgres
from tests.servers.cut_line import CutLine
from turnlog.backends.port import Appended
from turnlog.errors import BackendUnavailableError, ConflictError


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of a database."""
    name: str = request.param
    return name


class TestLostAnswers(BehindALine):
    @pytest.mark.parametrize("moment", ["request", "answer"])
    @pytest.mark.parametrize("size", [1, 3])
    @pytest.mark.parametrize("expect", [None, "r1.0"])
    def test_an_append_is_stored_once(self, pair: Pair, line: CutLine, moment: Any, size: int, expect: str | None) -> None:
        behind, beside = pair
        line.cut(moment)
        done = behind.append("s", records(0, size), now=3.0, expect=expect)
        assert done == Appended("r1.1", size, moment == "answer")
        assert line.cuts == 1
        assert all_ids(beside) == [f"m{n}" for n in range(size)]
        assert beside.get_head("s") == a_head(counter=1, length=size, updated_at=3.0)

    def test_an_append_that_is_sent_again_expects_what_it_expected(self, pair: Pair, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.append("s", records(0, 1), now=3.0, expect="r1.0") == Appended("r1.2", 2, True)
        line.cut("request", lambda: beside.append("s", [record("another")], now=4.0, expect=None))
        with pytest.raises(ConflictError):
            behind.append("s", records(1, 2), now=5.0, expect="r1.2")
        assert all_ids(beside) == ["m0", "other", "another"]

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_changed_head_is_stored_once(self, pair: Pair, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        changed = a_head(counter=1, fields={"title": "T"})
        line.cut(moment)
        assert behind.put_head(changed, expect="r1.0") is True
        assert beside.get_head("s") == changed

    def test_a_line_that_breaks_again_is_an_error(self, pair: Pair, line: CutLine) -> None:
        behind, beside = pair
        line.cut("request", lambda: line.cut("request"))
        with pytest.raises(BackendUnavailableError) as caught:
            behind.append("s", records(0, 1), now=3.0, expect=None)
        assert caught.value.host == f"127.0.0.1:{line.port}"  # type: ignore[attr-defined]
        assert all_ids(beside) == []
        assert behind.append("s", records(0, 1), now=3.0, expect=None) == Appended("r1.1", 1, False)


def test_a_forked_child_connects_anew(engine: str, run_python: Callable[..., Any]) -> None:
    url = {
        "mongodb": lambda: f"{mongodb.shared_url()}?prefix={mongodb.new_prefix()}&durability=process",
        "postgres": lambda: f"{postgres.shared_url()}?schema={postgres.new_schema()}&durability=process",
    }[engine]()
    done = run_python("-W", "ignore::DeprecationWarning", "-c", FORKING, url)
    assert done.stdout.split() == ["child", "parent", "6"]
    assert done.stderr == ""
