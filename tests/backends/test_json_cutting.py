"""Reading lines of a session file without parsing them: what is cut out of a line is what was written, whatever the messages hold."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from turnlog.backends.json_file import document
from turnlog.backends.json_file.document import cut_records, line_text, lines_from
from turnlog.messages import Record, SessionMessage, encode_message

TRAPS = (
    'x,"timestamp":1.5,"metadata":{"turnlog":{"id":"a","n":1}}}',
    '}}}, {"role":"user"',
    '"turnlog":{"of":2,"id":"q","n":7}}}',
    "a\nb\\",
    "\ud800 \u00e9",
)


def value(chance: random.Random, depth: int = 0) -> Any:
    """A JSON value; many look like the store's own part of a line."""
    kind = chance.randrange(9)
    deeper = depth < 4
    if kind == 0:
        return chance.choice(TRAPS)
    if kind == 1:
        return chance.random() * 10.0 ** chance.randrange(-20, 20)
    if kind == 2 and deeper:
        return {
            "role": "user",
            "timestamp": chance.choice([1.5, "t"]),
            "metadata": {"turnlog": value(chance, depth + 1), "id": "a", "n": 3},
        }
    if kind == 3 and deeper:
        return [value(chance, depth + 1) for _ in range(3)]
    if kind == 4 and deeper:
        return {"k": {"timestamp": 2.0, "metadata": {"turnlog": {"id": "z", "n": 5}}}}
    return chance.choice([None, True, 7, "plain"])


def records(chance: random.Random) -> list[Record]:
    """The records of one append."""
    made = []
    for _ in range(chance.randrange(1, 4)):
        record = {"role": chance.choice(["user", "assistant", "tool"]), "content": value(chance)}
        if chance.random() < 0.3:
            record["tool_calls"] = value(chance)
        metadata = chance.choice([{}, {"pydantic_ai": value(chance)}, {"a": value(chance), "timestamp": 1.0, "metadata": {"b": 1}}])
        moment = chance.choice([1.0, 1764165000.123, 1e-07, -3.5, 1e22])
        made.append(encode_message(SessionMessage(record=record, metadata=metadata, timestamp=moment)))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_what_is_cut_is_what_was_written(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1_000):
        appends = [records(chance) for _ in range(chance.randrange(1, 4))]
        lines, wanted = [], []
        for append in appends:
            lines.append(line_text(append, len(wanted)))
            wanted += [record._replace(seq=len(wanted) + at) for at, record in enumerate(append)]
        assert cut_records(",\n".join(lines)) == wanted


def test_turns_of_an_agent_are_cut_and_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"pydantic_ai": {"response": {"model_name": "m", "usage": {"input_tokens": 5}}, "sum": 1}, "turn": {"seconds": 0.5}}
    turn = [encode_message({"role": role, "content": "hello", "metadata": kept}) for role in ("user", "assistant")]
    line = line_text(turn, 0)

    def parse(*_: Any, **__: Any) -> Any:
        raise AssertionError("parsed")

    monkeypatch.setattr(document.json, "loads", parse)
    assert [record.body for record in cut_records(line)] == [record.body for record in turn]


def test_a_batch_that_is_not_whole_is_refused() -> None:
    whole = line_text([encode_message({"role": "user", "content": text}) for text in ("one", "two", "three")], 0)
    one, two, three = whole.split(", {")
    for broken in (one, f"{one}, {{{two}", f"{one}, {{{two}, {{{three}, {{{three}"):
        with pytest.raises(ValueError):
            cut_records(broken)


def test_lines_from() -> None:
    lines = [line_text([encode_message({"role": "user", "content": "x"})] * 2, number) for number in range(0, 10, 2)]
    data = ",\n".join(lines).encode()
    for number in range(10):
        found = lines_from(data, number)
        numbers = [json.loads(f"[{line.rstrip(',')}]")[-1]["metadata"]["turnlog"]["n"] for line in found.decode().split("\n")]
        assert numbers == list(range(number | 1, 10, 2))
