"""The sync and the async store say the same: every public verb of the one is in the other with the same signature but for await."""

from __future__ import annotations

import inspect

import pytest

from turnlog import session
from turnlog.session import AsyncSessionStore, SessionStore

# Each pair is spelled by what makes it sync and by what makes it async.
DUNDERS = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
NAMES = ["DefaultSessionStore", "HierarchicalSessionStore", "InMemorySessionStore", "SqliteSessionStore"]


def public(kind: type) -> dict[str, object]:
    """Public names of a class and of what it inherits."""
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_") or name in ("__init__", *DUNDERS)}


def signature(function: object) -> str:
    """The signature in words that do not differ between sync and async, as annotations spell them."""
    text = str(inspect.signature(function, eval_str=False))  # type: ignore[arg-type]
    return text.replace("AsyncIterator", "Iterator").replace("AsyncSessionStore", "SessionStore")


def test_both_have_the_same_public_names() -> None:
    sync, other = session.InMemorySessionStore(), session.AsyncInMemorySessionStore()
    assert {name for name in dir(sync) if not name.startswith("_")} == {name for name in dir(other) if not name.startswith("_")}
    assert all(hasattr(other, name) for name in DUNDERS.values())


VERBS = sorted(name for name, member in public(SessionStore).items() if inspect.isfunction(member) and name != "__init__")


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_the_same_in_both(name: str) -> None:
    sync, other = public(SessionStore)[name], inspect.getattr_static(AsyncSessionStore, DUNDERS.get(name, name))
    assert signature(sync) == signature(other)
    assert not inspect.iscoroutinefunction(sync)
    if name == "iter_sessions":
        assert inspect.isasyncgenfunction(other)
    else:
        assert inspect.iscoroutinefunction(other)


@pytest.mark.parametrize("name", NAMES)
def test_the_built_in_stores_are_made_the_same_way(name: str) -> None:
    sync, other = getattr(session, name), getattr(session, f"Async{name}")
    assert issubclass(sync, SessionStore)
    assert issubclass(other, AsyncSessionStore)
    assert signature(sync.__init__) == signature(other.__init__)
    # A verb that one of them has of its own must be its own in the other too.
    assert {key for key in vars(sync) if not key.startswith("_")} == {key for key in vars(other) if not key.startswith("_")}


@pytest.mark.parametrize("kind", [SessionStore, AsyncSessionStore])
def test_every_verb_is_documented(kind: type) -> None:
    assert [name for name in public(kind) if not name.startswith("_") and not inspect.getdoc(getattr(kind, name))] == []
