"""Messages: whatever JSON can hold comes back as it went in; the rest is refused by name and place, before anything is written."""

from __future__ import annotations

import json
import math
import os
import string
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnlog import messages
from turnlog.errors import CorruptSessionError, InvalidMessageError, InvalidSessionIdError, MessageTooLargeError
from turnlog.messages import Record, SessionMessage, decode_all, decode_body, encode_message, encode_text, json_copy, text_bytes

HALVES = st.characters(categories=["Cs"])
TEXT = st.text(st.characters() | HALVES | st.sampled_from('\x00\x01\x7f\u2028\ufeff\U0001f600e\u0301"\\/<>'), max_size=20).filter(
    # Two halves side by side spell one character in JSON; see the test of that below.
    lambda text: (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").count("\ufffd") >= sum("\ud800" <= c <= "\udfff" for c in text)
    )
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "developer", "r\x00le"])


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, in the same order of keys, with the same sign of zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


class TestExactness:
    @given(ROLES, VALUES, st.dictionaries(TEXT.filter(lambda key: key not in messages.ENVELOPE_KEYS), VALUES, max_size=3))
    @example("user", "\ud83d", {})
    @example("user", -0.0, {"": [1e300, 2**70, True]})
    def test_any_json_value_comes_back(self, role: str, content: Any, more: dict[str, Any]) -> None:
        message = {"role": role, "content": content, **more}
        if "role" in more:
            message["role"] = role
        record = encode_message(message)
        assert same(decode_body(record), message)
        assert same(decode_all([record, record]), [message, message])
        record.body.encode()

    @given(ROLES, TEXT)
    def test_the_short_way_for_text_writes_the_same(self, role: str, text: str) -> None:
        message = {"role": role, "content": text}
        long_way = messages.encode_json(message, "message")
        assert encode_text(role, text).body == encode_message(message).body == long_way
        assert encode_message({"content": text, "role": role}).body == messages.encode_json({"content": text, "role": role}, "message")

    @given(st.dictionaries(TEXT, VALUES, max_size=4))
    def test_metadata_comes_back(self, metadata: dict[str, Any]) -> None:
        message = SessionMessage.from_record(encode_message({"role": "user", "content": "x", "metadata": metadata}))
        assert same(message.metadata, metadata)

    @given(TEXT)
    def test_text_is_utf8_and_escapes_only_what_it_must(self, text: str) -> None:
        body = encode_text("user", text).body
        assert json.loads(body)["content"] == text
        escaped = [char for char in text if char < " " or "\ud800" <= char <= "\udfff"]
        assert body.count("\\u") == sum(char not in "\b\t\n\f\r" for char in escaped) + text.count("\\u")
        assert text_bytes(body) == len(body.encode())

    def test_two_halves_side_by_side_are_the_character_they_spell(self) -> None:
        assert decode_body(encode_text("user", "\ud83d\ude00 \ude00\ud83d")) == {"role": "user", "content": "\U0001f600 \ude00\ud83d"}

    def test_tuples_are_lists(self) -> None:
        assert decode_body(encode_message({"role": "user", "content": ({"type": "text"}, ("x",))})) == {
            "role": "user",
            "content": [{"type": "text"}, ["x"]],
        }

    def test_strings_and_numbers_of_other_classes_are_what_they_are_made_of(self) -> None:
        class Name(str):
            """A str of another class."""

        class Level(IntEnum):
            HIGH = 3

        assert decode_body(encode_message({"role": Name("user"), "content": [Name("x"), Level.HIGH]})) == {
            "role": "user",
            "content": ["x", 3],
        }

    def test_every_reading_gives_fresh_objects(self) -> None:
        record = encode_message({"role": "user", "content": [{"a": 1}], "metadata": {"b": [1]}})
        first = SessionMessage.from_record(record)
        first.content[0]["a"] = 2
        first.metadata["b"].append(2)
        first.record["role"] = "other"
        again = SessionMessage.from_record(record)
        assert (again.content, again.metadata, again.record["role"]) == ([{"a": 1}], {"b": [1]}, "user")

    def test_what_was_given_may_change_afterwards(self) -> None:
        parts: list[Any] = ["a"]
        record = encode_message({"role": "user", "content": parts})
        parts.append("b")
        assert decode_body(record)["content"] == ["a"]


class TestEnvelope:
    def test_a_dict_with_a_role_has_an_envelope(self) -> None:
        record = encode_message({"role": "user", "content": "x", "id": "m1", "timestamp": 5, "metadata": {"a": 1}, "name": "n"})
        assert record == Record(-1, "m1", 5.0, '{"role":"user","content":"x","name":"n"}', '{"a":1}')
        assert decode_body(record) == {"role": "user", "content": "x", "name": "n"}

    def test_a_time_may_be_text_as_other_programs_write_it(self) -> None:
        for text in ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00"):
            assert encode_message({"role": "user", "content": "x", "timestamp": text}).time == 1767225600.0

    def test_a_dict_without_a_role_is_the_message_whole(self) -> None:
        item = {"type": "reasoning", "id": "rs_1", "metadata": {"k": 1}, "summary": []}
        record = encode_message(item)
        assert decode_body(record) == item
        assert record.id != "rs_1"
        assert record.meta is None

    @given(VALUES, st.booleans())
    def test_the_dict_form_goes_both_ways(self, content: Any, whole: bool) -> None:
        given_message = {"type": "x", "id": "i", "content": content} if whole else {"role": "user", "content": content, "id": "i"}
        message = SessionMessage.from_record(encode_message(given_message))
        again = SessionMessage.from_dict(json.loads(json.dumps(message.to_dict())))
        assert same(again.record, message.record)
        assert (again.id, again.timestamp, again.metadata) == (message.id, message.timestamp, message.metadata)
        assert encode_message(again)._replace(seq=0) == encode_message(message)._replace(seq=0)

    def test_values_read_what_the_message_says(self) -> None:
        calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        message = SessionMessage.from_record(encode_message({"role": "assistant", "content": None, "tool_calls": calls, "x": 1}))
        assert (message.role, message.content, message.tool_calls, message.tool_call_id) == ("assistant", None, calls, None)
        assert message.to_llm_message() == {"role": "assistant", "content": None, "tool_calls": calls, "x": 1}

    def test_a_value_may_be_made_by_hand(self) -> None:
        message = SessionMessage("tool", "done", tool_call_id="c")
        assert message.record == {"role": "tool", "content": "done", "tool_call_id": "c"}
        assert decode_body(encode_message(message)) == message.record
        with pytest.raises(FrozenInstanceError):
            message.content = "other"  # type: ignore[misc]

    def test_no_metadata_is_no_metadata(self) -> None:
        for metadata in (None, {}):
            assert encode_message({"role": "user", "content": "x", "metadata": metadata}).meta is None


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


CYCLE: dict[str, Any] = {"role": "user", "content": []}
CYCLE["content"].append(CYCLE)


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "place"),
        [
            (float("nan"), "message['content'] is nan"),
            (["a", {"deep": float("-inf")}], "message['content'][1]['deep'] is -inf"),
            (b"bytes", "message['content'] is a bytes"),
            ({"a": [{1, 2}]}, "message['content']['a'][0] is a set"),
            ({"a": {1: "x"}}, "message['content']['a'] has the key 1 of type int"),
            ({None: 1}, "message['content'] has the key None of type NoneType"),
            ([object()], "message['content'][0] is a object"),
            ({"a": MappingProxyType({})}, "message['content']['a'] is a mappingproxy"),
            (nested(501), "nested more than 500 levels deep"),
            (nested(100_000), "nested more than 500 levels deep"),
            (10**5000, "cannot be written as JSON"),
        ],
        ids=lambda value: str(type(value).__name__),
    )
    def test_what_json_cannot_hold_is_refused_with_its_place(self, content: Any, place: str) -> None:
        with pytest.raises(InvalidMessageError) as error:
            encode_message({"role": "user", "content": content})
        assert place in str(error.value)

    def test_what_contains_itself_is_refused(self) -> None:
        with pytest.raises(InvalidMessageError, match="contains itself"):
            encode_message(CYCLE)

    def test_the_deepest_nesting_that_is_taken_comes_back(self) -> None:
        message = {"role": "user", "content": nested(500)}
        assert decode_body(encode_message(message)) == message

    @pytest.mark.parametrize(
        ("message", "text"),
        [
            ("text", "must be a dict or a SessionMessage, not str"),
            (None, "must be a dict or a SessionMessage, not NoneType"),
            ([("role", "user")], "must be a dict or a SessionMessage, not list"),
            ({}, "at least one key"),
            ({"role": "", "content": "x"}, "role must be a non-empty str"),
            ({"role": None, "content": "x"}, "role must be a non-empty str"),
            ({"role": 1, "content": "x"}, "role must be a non-empty str"),
            ({"role": "user", "content": "x", "metadata": [1]}, "metadata must be a dict, not list"),
            ({"role": "user", "content": "x", "metadata": {"a": b""}}, "metadata['a'] is a bytes"),
            ({"role": "user", "content": "x", "id": ""}, "message id must be"),
            ({"role": "user", "content": "x", "id": 7}, "message id must be"),
            ({"role": "user", "content": "x", "id": "a\nb"}, "must be printable"),
            ({"role": "user", "content": "x", "id": "i" * 257}, "at most 256"),
            ({"role": "user", "content": "x", "timestamp": "now"}, "finite number of seconds"),
            ({"role": "user", "content": "x", "timestamp": ""}, "finite number of seconds"),
            ({"role": "user", "content": "x", "timestamp": True}, "finite number of seconds"),
            ({"role": "user", "content": "x", "timestamp": math.inf}, "finite number of seconds"),
        ],
    )
    def test_messages_of_no_usable_shape(self, message: Any, text: str) -> None:
        with pytest.raises(InvalidMessageError) as error:
            encode_message(message)
        assert text in str(error.value)

    @pytest.mark.parametrize("content", [b"the secret word", {"the secret word": object()}, ["the secret word", float("nan")]])
    def test_no_refusal_tells_what_the_message_says(self, content: Any) -> None:
        with pytest.raises(InvalidMessageError) as error:
            encode_message({"role": "user", "content": content})
        assert "the secret" not in str(error.value).replace("['the secret word']", "")

    def test_a_copy_of_a_value_is_refused_in_the_same_way(self) -> None:
        assert json_copy({"a": (1, 2)}, "state") == {"a": [1, 2]}
        with pytest.raises(InvalidMessageError, match=r"state\['a'\] is a bytes"):
            json_copy({"a": b""}, "state")


class TestSizes:
    LIMIT = 12 * 1024 * 1024

    @pytest.mark.parametrize("letter", ["a", "é"])
    def test_the_limit_is_twelve_megabytes(self, letter: str) -> None:
        self.check(letter, self.LIMIT)

    @pytest.mark.parametrize("letter", ["a", "é", "\U0001f600", "\x00", "\ud800"])
    def test_the_limit_is_on_encoded_bytes(self, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", 1000)
        self.check(letter, 1000)

    @staticmethod
    def check(letter: str, limit: int) -> None:
        frame = len(encode_text("user", "").body)
        each = text_bytes(encode_text("user", letter).body) - frame
        fits = (limit - frame) // each
        for encode in (lambda text: encode_text("user", text), lambda text: encode_message({"role": "user", "content": text})):
            assert decode_body(encode(letter * fits))["content"] == letter * fits
            with pytest.raises(MessageTooLargeError) as error:
                encode(letter * (fits + 1))
            assert error.value.limit == limit  # type: ignore[attr-defined]
            assert error.value.size == frame + each * (fits + 1)  # type: ignore[attr-defined]
            assert isinstance(error.value, InvalidMessageError)

    def test_metadata_has_the_same_limit(self) -> None:
        with pytest.raises(MessageTooLargeError):
            encode_message({"role": "user", "content": "x", "metadata": {"a": "a" * self.LIMIT}})


class TestIds:
    def test_ids_differ_and_are_printable(self) -> None:
        ids = [messages.new_message_id() for _ in range(10_000)]
        assert len(set(ids)) == 10_000
        assert set("".join(ids)) <= set(string.hexdigits.lower() + "-")

    def test_a_forked_process_makes_others(self) -> None:
        code = (
            "import os, sys; from turnlog.messages import new_message_id; new_message_id(); sys.stdout.flush()\n"
            "for _ in range(3): os.fork()\n"
            "os.write(1, ''.join(new_message_id() + chr(10) for _ in range(50)).encode())"
        )
        ids = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, check=True, timeout=60
        )
        found = ids.stdout.split()
        assert len(found) == 400
        assert len(set(found)) == 400

    @pytest.mark.parametrize("session_id", ["a", "a" * 1024, "../../etc/passwd", "\x00", "\ud800", "é", "."])
    def test_any_str_of_sensible_length_names_a_session(self, session_id: str) -> None:
        assert messages.check_session_id(session_id) == session_id

    @pytest.mark.parametrize(
        ("session_id", "text"),
        [("", "is empty"), ("a" * 1025, "1025 characters"), (b"a", "not bytes"), (None, "not NoneType"), (1, "not int")],
    )
    def test_nothing_else_does(self, session_id: Any, text: str) -> None:
        with pytest.raises(InvalidSessionIdError, match=text):
            messages.check_session_id(session_id)


class TestDamage:
    @pytest.mark.parametrize(
        ("read", "bodies"),
        [
            (decode_body, ["", "{", '{"role":"secret"', "[1]", "null", "1", '"secret"', "{}]["]),
            (SessionMessage.from_record, ["", "{", '{"role":"secret"', "[1]", "null", "1", '"secret"', "{}]["]),
            (lambda record: decode_all([encode_text("user", "x"), record]), ["", "{", '{"role":"secret"', "{}]["]),
        ],
        ids=["one", "value", "many"],
    )
    def test_what_is_no_message_is_reported_without_its_text(self, read: Callable[[Record], object], bodies: list[str]) -> None:
        for body in bodies:
            with pytest.raises(CorruptSessionError) as error:
                read(Record(0, "m7", 0.0, body, None))
            assert "m7" in str(error.value)
            assert "secret" not in str(error.value)
            assert error.value.__cause__ is None

    def test_damaged_metadata_is_reported(self) -> None:
        with pytest.raises(CorruptSessionError):
            SessionMessage.from_record(encode_text("user", "x")._replace(meta="[1]"))


def test_a_mapping_that_is_no_dict_is_a_message() -> None:
    message: Mapping[str, Any] = MappingProxyType({"role": "user", "content": "x", "id": "m"})
    assert encode_message(message).body == '{"role":"user","content":"x"}'
