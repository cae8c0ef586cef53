"""The contract of the port, sentence by sentence: a fork's claim and its head as one step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.samples import a_head, all_ids, record, records, run_threads
from turnlog.heads import Head, Parent, Reference, Stretch

ODD = "odd \x00 \ud800"
CLAIM = Reference("s", "r1", ODD, "cr", 3)


def a_child(session_id: str = ODD, run: str = "cr", **values: Any) -> Head:
    """A fork of the first three messages of "s"."""
    return a_head(session_id, run, past=(Stretch("r1", 0, 3),), past_count=3, parent=Parent("s", "b", "r1", 2), **values)


@pytest.fixture
def forking(sharing: Any) -> Any:
    """Every backend whose forks share records, with a session of five messages, two of them shed."""
    sharing.put_head(a_head(length=5, shed=2), expect=None, records=records(0, 5))
    return sharing


class TestStored:
    def test_child_and_claim_are_there(self, forking: Any) -> None:
        child = a_child(fields={"title": "T"}, ttl=60.0)
        assert forking.put_fork(child, CLAIM, shed=2) == "stored"
        assert forking.get_head(ODD) == child
        assert forking.references("s", "r1") == [CLAIM]
        assert forking.get_head("s") == a_head(length=5, shed=2)
        assert [each.id for each in forking.read(ODD, child.past)] == ["m0", "m1", "m2"]
        assert forking.append(ODD, [record("own")], now=3.0, expect=None).messages == 4

    def test_appends_to_the_parent_do_not_matter(self, forking: Any) -> None:
        forking.append("s", [record("later")], now=3.0, expect=None)
        assert forking.put_fork(a_child(), CLAIM, shed=2) == "stored"

    def test_the_revision_that_was_expected(self, forking: Any) -> None:
        assert forking.put_fork(a_child(), CLAIM, shed=2, expect=a_head(length=5)) == "stored"
        forking.append("s", [record("later")], now=3.0, expect=None)
        again = CLAIM._replace(child_id="second", child_run="cr2")
        assert forking.put_fork(a_child("second", "cr2"), again, shed=2, expect=a_head(counter=1, length=6)) == "stored"
        assert sorted(forking.references("s", "r1")) == sorted([CLAIM, again])

    def test_a_mark_that_has_not_closed_the_run_does_not_matter(self, forking: Any) -> None:
        forking.mark_run("s", "r1", None, closed=False)
        assert forking.put_fork(a_child(), CLAIM, shed=2) == "stored"

    def test_many_forks_of_one_parent(self, forking: Any) -> None:
        claims = [Reference("s", "r1", f"c{number}", f"cr{number}", number) for number in range(5)]
        for claim in claims:
            assert forking.put_fork(a_child(claim.child_id, claim.child_run), claim, shed=2) == "stored"
        assert sorted(forking.references("s", "r1")) == claims

    def test_forks_of_forks(self, forking: Any) -> None:
        assert forking.put_fork(a_child(), CLAIM, shed=2) == "stored"
        claim = Reference(ODD, "cr", "grandchild", "gr", 0)
        assert forking.put_fork(a_child("grandchild", "gr"), claim, shed=0) == "stored"
        assert forking.references(ODD, "cr") == [claim]


class TestMoved:
    def moved(self, backend: Any, shed: int = 2, expect: Head | None = None) -> None:
        """The fork finds its parent changed: no child comes to be, and the claim can be released."""
        assert backend.put_fork(a_child(), CLAIM, shed=shed, expect=expect) == "moved"
        assert backend.get_head(ODD) is None
        assert all_ids(backend, ODD, "cr") == []
        backend.drop_reference("s", "r1", "cr")
        assert backend.referenced_runs() == []

    def test_the_parent_is_gone(self, forking: Any) -> None:
        forking.remove_head("s", "r1")
        self.moved(forking)

    def test_the_parent_has_another_run(self, forking: Any) -> None:
        forking.put_head(a_head(run="r2"), expect="r1.0")
        self.moved(forking)

    @pytest.mark.parametrize("shed", [0, 1, 3])
    def test_the_parent_has_shed_other_messages(self, forking: Any, shed: int) -> None:
        self.moved(forking, shed)

    @pytest.mark.parametrize("other", [{"counter": 1}, {"length": 4}, {"run": "r2"}])
    def test_the_parent_is_in_another_state_than_expected(self, forking: Any, other: dict[str, Any]) -> None:
        self.moved(forking, expect=a_head(**{"length": 5, **other}))

    def test_the_parent_has_grown_since_the_revision_expected(self, forking: Any) -> None:
        forking.append("s", [record("later")], now=3.0, expect=None)
        self.moved(forking, expect=a_head(length=5))

    def test_the_run_is_closed(self, forking: Any) -> None:
        forking.mark_run("s", "r1", None, closed=True)
        self.moved(forking)
        assert forking.marked_runs("s")[0].closed

    def test_the_parent_was_deleted_and_created_again(self, forking: Any) -> None:
        forking.mark_run("s", "r1", None, closed=False)
        forking.remove_head("s", "r1")
        forking.mark_run("s", "r1", None, closed=True)
        forking.put_head(a_head(run="r2", shed=2, length=3), expect=None)
        self.moved(forking)


class TestTaken:
    def test_there_is_a_session_of_that_id(self, forking: Any) -> None:
        other = a_head(ODD, "other", length=1, fields={"title": "mine"})
        forking.put_head(other, expect=None, records=[record("mine")])
        assert forking.put_fork(a_child(), CLAIM, shed=2) == "taken"
        assert forking.get_head(ODD) == other
        assert all_ids(forking, ODD, "other") == ["mine"]

    def test_the_fork_is_there_already(self, forking: Any) -> None:
        assert forking.put_fork(a_child(), CLAIM, shed=2) == "stored"
        forking.append(ODD, [record("own")], now=3.0, expect=None)
        before = forking.get_head(ODD)
        assert forking.put_fork(a_child(), CLAIM, shed=2) == "taken"
        assert forking.get_head(ODD) == before

    def test_the_childs_run_is_closed(self, forking: Any) -> None:
        forking.mark_run(ODD, "cr", Parent("s", "", "r1", -1), closed=True)
        assert forking.put_fork(a_child(), CLAIM, shed=2) == "taken"
        assert forking.get_head(ODD) is None


class TestRaces:
    def test_one_of_many_takes_the_name(self, forking: Any) -> None:
        outcomes: dict[int, str] = {}

        def fork(number: int) -> None:
            claim = Reference("s", "r1", "c", f"cr{number}", 3)
            outcomes[number] = forking.put_fork(a_child("c", f"cr{number}"), claim, shed=2)

        run_threads(fork, 8)
        assert sorted(outcomes.values()) == ["stored"] + ["taken"] * 7
        (winner,) = (number for number, outcome in outcomes.items() if outcome == "stored")
        assert forking.get_head("c").run == f"cr{winner}"
        assert f"cr{winner}" in {claim.child_run for claim in forking.references("s", "r1")}

    def test_a_child_never_comes_to_be_without_its_claim(self, forking: Any) -> None:
        outcomes: dict[int, str] = {}

        def work(number: int) -> None:
            if number == 0:
                forking.mark_run("s", "r1", None, closed=False)
                forking.remove_head("s", "r1")
                forking.mark_run("s", "r1", None, closed=True)
                return
            claim = Reference("s", "r1", f"c{number}", f"cr{number}", 3)
            outcomes[number] = forking.put_fork(a_child(f"c{number}", f"cr{number}"), claim, shed=2)

        run_threads(work, 6)
        claims = {claim.child_id for claim in forking.references("s", "r1")}
        for number, outcome in outcomes.items():
            assert outcome in ("stored", "moved")
            assert (forking.get_head(f"c{number}") is not None) == (outcome == "stored")
            assert outcome == "moved" or f"c{number}" in claims
