"""Reading: histories and windows of every size, slices, budgets, checkpoints, drafts, search."""

from __future__ import annotations

from typing import Any

import pytest

from tests.session.conftest import Opened, say, texts
from turnlog.errors import MessageIndexError
from turnlog.session import SessionStore, repair_history

CALLS = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in ("c1", "c2")]
TOOL_TURN: list[dict[str, Any]] = [
    {"role": "user", "content": "do"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "content": "1", "tool_call_id": "c1"},
    {"role": "tool", "content": "2", "tool_call_id": "c2"},
    {"role": "assistant", "content": "done"},
]


def spoken(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["content"] for message in messages]


class TestHistory:
    def test_an_unknown_session_has_none(self, store: SessionStore) -> None:
        assert store.get_chat_history("s") == []
        assert store.get_working_history("s") == []
        assert store.get_messages("s") == []
        assert store.get_session("s").messages == []
        assert not store.session_exists("s")

    def test_the_last_ones(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abcdefgh"))
        for size in range(1, 12):
            assert spoken(store.get_chat_history("s", size)) == list("abcdefgh")[-size:]
        for all_of_them in (None, 0):
            assert spoken(store.get_chat_history("s", all_of_them)) == list("abcdefgh")

    @pytest.mark.parametrize("size", [-1, True, 1.5, "2"])
    def test_no_number_of_messages(self, store: SessionStore, size: Any) -> None:
        for verb in (store.get_chat_history, store.get_working_history):
            with pytest.raises(MessageIndexError):
                verb("s", size)

    def test_every_window_is_valid_and_as_long_as_it_may_be(self, store: SessionStore) -> None:
        history = [*say("a", "b"), *TOOL_TURN, *say("c", "d"), *TOOL_TURN]
        store.add_messages("s", history)
        for size in range(1, len(history) + 2):
            window = store.get_chat_history("s", size)
            assert repair_history(window) == window
            assert window == history[-len(window) :]
            at = len(history) - size
            split = at >= 0 and history[at]["role"] == "tool"
            assert len(window) == min(size, len(history)) or split

    def test_an_unfinished_call_is_hidden_until_it_is_answered(self, store: SessionStore) -> None:
        store.add_messages("s", TOOL_TURN[:3])
        assert spoken(store.get_chat_history("s")) == ["do"]
        assert len(store.get_messages("s")) == 3
        assert len(store.get_session("s").messages) == 3
        store.add_messages("s", TOOL_TURN[3:])
        assert store.get_chat_history("s") == TOOL_TURN

    def test_what_comes_back_is_the_callers(self, store: SessionStore) -> None:
        store.add_message("s", "user", [{"type": "text", "text": "a"}], {"k": [1]})
        store.get_chat_history("s")[0]["content"][0]["text"] = "changed"
        store.get_messages("s")[0].metadata["k"].append(2)
        store.get_session("s").metadata["x"] = 1
        assert store.get_chat_history("s") == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
        assert store.get_messages("s")[0].metadata == {"k": [1]}
        assert store.get_session("s").metadata == {}


class TestBudget:
    @staticmethod
    def count(message: Any) -> int:
        return len(str(message["content"]))

    def test_whole_groups_fit(self, store: SessionStore) -> None:
        store.add_messages("s", [*say("aaaa"), *TOOL_TURN])
        for budget, size in ((0, 0), (3, 0), (4, 1), (8, 1), (9, 1), (10, 4), (11, 4), (12, 5), (15, 5), (16, 6), (99, 6)):
            window = store.get_chat_history("s", max_tokens=budget, count_tokens=self.count)
            assert len(window) == size, budget
            assert repair_history(window) == window

    def test_a_long_history_is_read_from_its_end(self, store: SessionStore) -> None:
        store.add_messages("s", say(*(f"{number:03}" for number in range(300))))
        counted = []

        def count(message: Any) -> int:
            counted.append(message["content"])
            return 3

        assert spoken(store.get_chat_history("s", max_tokens=600, count_tokens=count)) == [f"{number:03}" for number in range(100, 300)]
        assert "000" not in counted

    def test_the_tighter_of_two_limits_holds(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abcdef"))
        assert spoken(store.get_chat_history("s", 2, max_tokens=5, count_tokens=self.count)) == ["e", "f"]
        assert spoken(store.get_chat_history("s", 5, max_tokens=2, count_tokens=self.count)) == ["e", "f"]

    def test_a_budget_needs_a_count(self, store: SessionStore) -> None:
        with pytest.raises(ValueError, match="count"):
            store.get_chat_history("s", max_tokens=5)


class TestSlices:
    @pytest.mark.parametrize("start", [-9, -2, 0, 1, 4, 9])
    @pytest.mark.parametrize("stop", [None, -9, -2, 0, 3, 9])
    def test_as_python_slices_do(self, store: SessionStore, start: int, stop: int | None) -> None:
        store.add_messages("s", say(*"abcde"))
        assert [message.content for message in store.get_messages("s", start, stop)] == list("abcde")[start:stop]

    @pytest.mark.parametrize("index", [1.0, "1", True])
    def test_indexes_are_numbers(self, store: SessionStore, index: Any) -> None:
        with pytest.raises(MessageIndexError):
            store.get_messages("s", index)
        with pytest.raises(MessageIndexError):
            store.get_messages("s", 0, index)


class TestWorkingHistory:
    def test_the_summary_stands_for_what_came_before(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        assert store.append_compaction_checkpoint("s", "sum", tokens_before=9, tokens_after=2, metadata={"k": 1})
        summary = {"role": "system", "content": "sum"}
        assert store.get_working_history("s") == [summary]
        store.add_messages("s", say("c", "d", "e"))
        assert spoken(store.get_working_history("s")) == ["sum", "c", "d", "e"]
        for size in range(1, 6):
            assert spoken(store.get_working_history("s", size)) == ["sum", *"cde"[max(0, 4 - size) :]][:size]
        assert spoken(store.get_chat_history("s")) == list("abcde")
        kept = store.get_session("s").last_compaction
        assert kept is not None
        assert (kept["summary"], kept["message_index"], kept["tokens_before"], kept["metadata"]) == ("sum", 2, 9, {"k": 1})

    def test_a_newer_checkpoint_replaces_the_older(self, store: SessionStore) -> None:
        store.add_messages("s", say("a"))
        store.append_compaction_checkpoint("s", "one")
        store.add_messages("s", say("b"))
        store.append_compaction_checkpoint("s", "two", role="user")
        store.add_messages("s", say("c"))
        assert store.get_working_history("s") == [{"role": "user", "content": "two"}, {"role": "user", "content": "c"}]

    def test_a_result_whose_call_was_summed_up_is_left_out(self, store: SessionStore) -> None:
        store.add_messages("s", TOOL_TURN[:2])
        store.append_compaction_checkpoint("s", "sum")
        store.add_messages("s", TOOL_TURN[2:])
        assert spoken(store.get_working_history("s")) == ["sum", "done"]

    def test_a_summary_does_not_outlive_what_it_sums_up(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abcd"))
        early = store.create_snapshot("s")
        store.append_compaction_checkpoint("s", "sum")
        store.add_messages("s", say("e", "f"))
        late = store.create_snapshot("s")
        store.revert_to_message("s", 4)
        assert spoken(store.get_working_history("s")) == ["sum", "e"]
        store.revert_to_message("s", 1)
        store.add_message("s", "user", "new")
        assert spoken(store.get_working_history("s")) == ["a", "b", "new"]
        store.undo_revert("s")
        assert spoken(store.get_working_history("s")) == ["sum", "e"]
        store.revert_to_snapshot("s", early)
        assert spoken(store.get_working_history("s")) == ["sum"]
        store.revert_to_message("s", 2)
        store.revert_to_snapshot("s", late)
        assert spoken(store.get_working_history("s")) == list("abcdef")

    def test_forks_keep_the_summary_of_what_they_hold(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abcd"))
        store.append_compaction_checkpoint("s", "sum")
        store.add_messages("s", say("e"))
        assert spoken(store.get_working_history(store.fork_session("s"))) == ["sum", "e"]
        assert spoken(store.get_working_history(store.fork_session("s", 3))) == ["sum"]
        assert spoken(store.get_working_history(store.fork_session("s", 2))) == ["a", "b", "c"]

    def test_clearing_and_replacing_end_it(self, store: SessionStore) -> None:
        for verb in (store.clear_session, lambda name: store.set_chat_history(name, say("x"))):
            store.add_messages("s", say("a"))
            store.append_compaction_checkpoint("s", "sum")
            verb("s")
            store.add_message("s", "user", "new")
            assert "sum" not in spoken(store.get_working_history("s"))


class TestDrafts:
    def test_a_draft_stands_at_the_end_until_it_is_final(self, store: SessionStore) -> None:
        store.add_message("s", "user", "a")
        for text in ("H", "Hel", "Hello"):
            assert store.upsert_partial_assistant_message("s", text)
            assert spoken(store.get_chat_history("s")) == ["a", text]
            assert spoken(store.get_chat_history("s", 1)) == [text]
        draft = store.get_session("s").messages[-1]
        assert (draft.role, draft.content, draft.metadata) == ("assistant", "Hello", {"partial": True})
        assert store.upsert_partial_assistant_message("s", "Hello!", finalize=True)
        final = store.get_session("s").messages[-1]
        assert (final.content, final.metadata, final.id) == ("Hello!", {}, draft.id)
        assert texts(store, "s") == ["a", "Hello!"]

    def test_a_draft_is_no_message_yet(self, store: SessionStore) -> None:
        store.upsert_partial_assistant_message("s", "He")
        assert store.session_exists("s")
        assert store.get_messages("s") == []
        assert store.list_sessions()[0]["message_count"] == 0

    def test_it_may_be_dropped(self, store: SessionStore) -> None:
        store.add_message("s", "user", "a")
        store.upsert_partial_assistant_message("s", "He")
        assert store.discard_partial_assistant_message("s")
        assert store.discard_partial_assistant_message("s")
        assert store.discard_partial_assistant_message("nowhere")
        assert not store.session_exists("nowhere")
        store.upsert_partial_assistant_message("s", "Again")
        store.upsert_partial_assistant_message("s", "", finalize=True)
        assert spoken(store.get_chat_history("s")) == ["a"]

    def test_finalizing_without_a_draft_is_an_answer(self, store: SessionStore) -> None:
        store.upsert_partial_assistant_message("s", "whole", finalize=True)
        assert [(m.role, m.content) for m in store.get_messages("s")] == [("assistant", "whole")]

    def test_others_may_write_meanwhile(self, store: SessionStore) -> None:
        store.upsert_partial_assistant_message("s", "He")
        store.add_messages("s", say("b"))
        assert spoken(store.get_chat_history("s")) == ["b", "He"]
        store.upsert_partial_assistant_message("s", "Hello")
        assert spoken(store.get_chat_history("s")) == ["b", "Hello"]
        store.upsert_partial_assistant_message("s", "Hello", finalize=True)
        assert spoken(store.get_chat_history("s")) == ["b", "Hello"]

    def test_it_shows_behind_a_summary_and_not_in_forks(self, store: SessionStore) -> None:
        store.add_message("s", "user", "a")
        store.append_compaction_checkpoint("s", "sum")
        store.upsert_partial_assistant_message("s", "He")
        assert spoken(store.get_working_history("s")) == ["sum", "He"]
        assert spoken(store.get_chat_history(store.fork_session("s"))) == ["a"]

    def test_clearing_drops_it(self, store: SessionStore) -> None:
        store.upsert_partial_assistant_message("s", "He")
        store.clear_session("s")
        assert store.get_chat_history("s") == []

    def test_a_crash_amid_finalizing_leaves_one_answer(self, store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
        store.upsert_partial_assistant_message("s", "He")
        with monkeypatch.context() as patch:
            patch.setattr(type(store._core), "_drop_draft", crash)
            with pytest.raises(KeyboardInterrupt):
                store.upsert_partial_assistant_message("s", "Hello", finalize=True)
        assert spoken(store.get_chat_history("s")) == ["Hello"]
        assert len(store.get_session("s").messages) == 1
        store.add_message("s", "user", "next")
        assert spoken(store.get_chat_history("s", 1)) == ["next"]
        store.upsert_partial_assistant_message("s", "Hello", finalize=True)
        assert spoken(store.get_chat_history("s")) == ["Hello", "next"]

    def test_the_next_answer_after_such_a_crash(self, store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
        for final in (True, False):
            name = f"s{final}"
            store.upsert_partial_assistant_message(name, "He")
            with monkeypatch.context() as patch:
                patch.setattr(type(store._core), "_drop_draft", crash)
                with pytest.raises(KeyboardInterrupt):
                    store.upsert_partial_assistant_message(name, "Hello", finalize=True)
            store.upsert_partial_assistant_message(name, "Two", finalize=final)
            assert spoken(store.get_chat_history(name)) == ["Hello", "Two"]
            store.upsert_partial_assistant_message(name, "Three", finalize=True)
            assert spoken(store.get_chat_history(name))[-1] == "Three"


async def crash(*args: Any) -> bool:
    """The process ends here."""
    raise KeyboardInterrupt


class TestWindow:
    def test_messages_around_one(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abcdefg"))
        names = [message.id for message in store.get_messages("s")]
        for anchor in (3, "3", names[3]):
            lines = store.window("s", anchor, window=1)
            assert [(line["index"], line["content"], line["id"]) for line in lines] == [
                (place, "abcdefg"[place], names[place]) for place in (2, 3, 4)
            ]
        assert spoken(store.window("s", window=2)) == ["e", "f", "g"]
        assert spoken(store.window("s", 0, window=0)) == ["a"]
        assert len(store.window("s", "")) == 6

    def test_what_is_not_there(self, store: SessionStore) -> None:
        assert store.window("s", 3) == []
        store.add_messages("s", say("a"))
        for anchor in (1, -1, "x"):
            with pytest.raises(MessageIndexError):
                store.window("s", anchor)
        with pytest.raises(MessageIndexError):
            store.window("s", 0, window=-1)


class TestSearch:
    def test_best_first_with_its_surroundings(self, store: SessionStore) -> None:
        store.add_messages("one", say("the Blue whale", "nothing", "x", "y"))
        store.add_messages("two", say("a", "whale blue", "b", "c", "d", "e", "f"))
        store.set_title("two", "Second")
        hits = store.search("blue  WHALE", window=1)
        assert [(hit.session_id, hit.anchor_index, hit.score) for hit in hits] == [("one", 0, 4.0), ("two", 1, 2.0)]
        assert spoken(hits[1].messages) == ["a", "whale blue", "b"]
        assert hits[1].title == "Second"
        assert "Blue whale" in hits[0].snippet
        assert hits[0].as_dict()["session_id"] == "one"
        assert [hit.session_id for hit in store.search("blue whale", limit=1)] == ["one"]

    @pytest.mark.parametrize("query", ["", "  ", "absent"])
    def test_nothing_to_find(self, store: SessionStore, query: str) -> None:
        store.add_messages("s", say("text"))
        assert store.search(query) == []

    def test_what_is_gone_is_not_found(self, store: SessionStore) -> None:
        store.add_messages("s", say("needle", "x", "needle"))
        store.revert_to_message("s", 1)
        assert [hit.score for hit in store.search("needle")] == [3.0]
        store.clear_session("s")
        assert store.search("needle") == []

    def test_text_in_parts_is_found_and_long_text_is_cut(self, store: SessionStore) -> None:
        store.add_message("s", "user", [{"type": "text", "text": "x " * 500 + "needle" + " y" * 500}, {"type": "image"}, "str"])
        (hit,) = store.search("NEEDLE")
        assert "needle" in hit.snippet
        assert len(hit.snippet) < 130
        assert hit.snippet.startswith("…")
        assert hit.snippet.endswith("…")


def test_recorded_model_and_effort(store: SessionStore) -> None:
    assert store.get_session_model("s") is None
    store.add_message("s", "assistant", "a", {"model": "m1", "reasoning_effort": "low"})
    store.add_message("s", "assistant", "b", {"model": "m2"})
    assert (store.get_session_model("s"), store.get_session_reasoning_effort("s")) == ("m2", "low")
    store.update_session_metadata("s", llm="m3")
    assert store.get_session_model("s") == "m3"


def test_two_stores_see_each_other(opened: Opened, kind: str) -> None:
    one = opened()
    one.add_message("s", "user", "a")
    other = opened()
    assert texts(other, "s") == ([] if kind == "memory" else ["a"])
