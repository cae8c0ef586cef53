"""What is known about a session beside its messages, and the values that show it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest

from tests.session.conftest import say, texts
from turnlog.errors import InvalidMessageError, InvalidSessionIdError
from turnlog.session import SessionStore


def test_setters_make_the_session(store: SessionStore) -> None:
    setters: dict[str, Any] = {
        "title": lambda name: store.set_title(name, "T"),
        "rename": lambda name: store.rename_session(name, "T"),
        "agent": lambda name: store.set_agent_info(name, "A"),
        "gateway": lambda name: store.set_gateway_info(name, "g"),
        "metadata": lambda name: store.update_session_metadata(name, k=1),
        "share": store.share_session,
        "runtime": lambda name: store.set_runtime_state(name, "r", "t", {}),
        "checkpoint": lambda name: store.append_compaction_checkpoint(name, "sum"),
    }
    for name, setter in setters.items():
        assert setter(name) is True, name
        assert store.session_exists(name), name
        assert store.get_messages(name) == []
    assert len(store.list_sessions()) == len(setters)


def test_clearing_what_is_not_there_makes_nothing(store: SessionStore) -> None:
    assert store.clear_runtime_state("s") is True
    assert not store.session_exists("s")
    assert store.is_shared("s") is False
    assert store.get_runtime_state("s", "r") == {}


def test_agent_and_user(store: SessionStore) -> None:
    store.set_agent_info("s", agent_name="A")
    store.set_agent_info("s", user_id="U")
    store.set_agent_info("s", None, None)
    data = store.get_session("s")
    assert (data.agent_name, data.user_id) == ("A", "U")
    store.set_gateway_info("s", "g1")
    store.set_gateway_info("s", agent_id="a1")
    data = store.get_session("s")
    assert (data.gateway_session_id, data.agent_id) == ("g1", "a1")


def test_metadata_is_merged(store: SessionStore) -> None:
    store.update_session_metadata("s", model="m", total_tokens=3, gone=None)
    store.update_session_metadata("s", total_tokens=5, model=None, deep={"a": [1]})
    assert store.get_session("s").metadata == {"model": "m", "total_tokens": 5, "deep": {"a": [1]}}
    store.update_session_metadata("s", agent_name="A", user_id="U", agent_id="I")
    data = store.get_session("s")
    assert (data.agent_name, data.user_id, data.agent_id) == ("A", "U", "I")


@pytest.mark.parametrize("value", [float("nan"), b"x", {1}, {1: 2}, object()])
def test_metadata_must_be_json(store: SessionStore, value: Any) -> None:
    with pytest.raises(InvalidMessageError):
        store.update_session_metadata("s", k=value)
    with pytest.raises(InvalidMessageError):
        store.set_runtime_state("s", "r", "t", value)
    with pytest.raises(InvalidMessageError):
        store.append_compaction_checkpoint("s", "sum", metadata={"k": value})
    assert not store.session_exists("s")


def test_bad_ids_are_refused(store: SessionStore) -> None:
    for verb in (store.share_session, store.clear_runtime_state, store.get_session, store.get_revision, store.session_exists):
        with pytest.raises(InvalidSessionIdError):
            verb("")


def test_labels_leave_messages_alone(store: SessionStore) -> None:
    store.add_messages("s", say("a", "b"))
    store.set_title("s", "T")
    store.update_session_metadata("s", k=1)
    store.share_session("s")
    assert texts(store, "s") == ["a", "b"]
    assert store.is_shared("s") is True
    store.unshare_session("s")
    assert store.is_shared("s") is False


def test_runtime_states(store: SessionStore) -> None:
    store.set_runtime_state("s", "r", "t1", {"n": 1})
    store.set_runtime_state("s", "r", "t2", {"n": 2})
    store.set_runtime_state("s", "q", "t1", {"n": 3})
    store.set_runtime_state("s", "off", "t1", {"n": 4}, mirror_enabled=False)
    assert store.get_runtime_state("s", "r") == {"t1": {"n": 1}, "t2": {"n": 2}}
    assert store.get_runtime_state("s", "r", "t2") == {"n": 2}
    assert store.get_runtime_state("s", "r", "t9") == {}
    assert store.get_runtime_state("s", "off") == {}
    store.get_runtime_state("s", "r", "t1")["n"] = 9
    assert store.get_runtime_state("s", "r", "t1") == {"n": 1}
    store.clear_runtime_state("s", "r")
    assert store.get_runtime_state("s", "r") == {}
    assert store.get_runtime_state("s", "q", "t1") == {"n": 3}
    store.clear_runtime_state("s")
    assert store.get_runtime_state("s", "q") == {}


def test_times_are_iso_and_in_order(store: SessionStore) -> None:
    before = time.time()
    store.add_message("s", "user", "a")
    made = store.get_session("s")
    store.add_message("s", "user", "b")
    changed = store.get_session("s")
    assert made.created_at == changed.created_at
    created, updated = (datetime.fromisoformat(str(text)) for text in (changed.created_at, changed.updated_at))
    assert created.utcoffset() is not None
    assert before - 1 <= created.timestamp() <= updated.timestamp() <= time.time() + 1


def test_values_are_json(store: SessionStore) -> None:
    store.add_messages("s", say("a", "b"))
    store.create_snapshot("s", "label", {"k": 1})
    store.fork_session("s", new_session_id="c")
    store.append_compaction_checkpoint("s", "sum")
    data = store.get_extended_session("s")
    assert json.loads(json.dumps(data.to_dict()))["messages"][0]["content"] == "a"
    assert data.get_chat_history(1) == [{"role": "assistant", "content": "b"}]
    json.dumps([line.as_dict() for line in store.recent()])
    json.dumps([hit.as_dict() for hit in store.search("a")])
    json.dumps(store.list_sessions())
    json.dumps(store.get_session_tree("s"))
    json.dumps(store.export_all())


def test_the_store_keeps_no_cache(store: SessionStore) -> None:
    store.invalidate_cache()
    store.invalidate_cache("s")
