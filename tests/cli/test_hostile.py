"""Stored text that tries to drive the terminal, or to pass for what the command prints itself."""

from __future__ import annotations

import json
import re

from tests.cli.conftest import Run, on_terminal
from turnlog.cli import safe
from turnlog.session import SessionStore

EVIL = "\x1b]0;owned\x07 \x1b[2J\x9b31m\u202egnp\u2066 \x00\x7f\ud800 a\rb\x08"
"""Sets a title, clears the screen, colours by C1, turns the direction of text, goes back over the line."""
DRIVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")


def hostile(store: SessionStore) -> None:
    """A session with hostile text wherever text can be."""
    name = f"evil{EVIL}"
    store.create_session(name, title=EVIL, agent_name=EVIL, metadata={"x": EVIL})
    store.set_agent_info(name, user_id=EVIL)
    call = {"id": EVIL, "type": "function", "function": {"name": EVIL, "arguments": EVIL}}
    store.add_messages(
        name,
        [
            {"role": "user", "content": EVIL, "metadata": {"k": EVIL}},
            {"role": EVIL, "content": EVIL},
            {"role": "assistant", "content": EVIL, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": EVIL, "content": EVIL},
            {"role": "user", "content": [{"type": EVIL, "x": EVIL}, {"type": "image_url", "image_url": {"url": EVIL}}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": EVIL}]},
        ],
    )
    store.create_snapshot(name, EVIL)
    store.fork_session(name, new_session_id=f"fork{EVIL}")


def test_no_command_prints_what_drives_a_terminal(run: Run, store: SessionStore) -> None:
    hostile(store)
    commands = [
        ["list"],
        ["show", "evil"],
        ["show", "evil", "--full"],
        ["show", "evil", "--json"],
        ["tail", "evil"],
        ["tail", "evil", "--json"],
        ["tree"],
        ["tree", "--json"],
        ["search", "owned"],
        ["search", "owned", "--json"],
        ["diff", "evil", "trip"],
        ["diff", "evil", "trip", "--json"],
        ["snapshot", "evil", "--list"],
        ["snapshot", "evil", "--list", "--json"],
        ["export", "evil"],
        ["rename", "evil", EVIL.replace("\ud800", "").replace("\x00", "")],
        ["revert", "evil", "0", "--yes"],
        ["delete", "evil", "--yes"],
    ]
    for each in commands:
        result = run(*each)
        assert not DRIVES.search(result.stdout + result.stderr), each
        assert result.stdout.strip(), each
    wrong = run("show", "nobody\x1b[31m", status=1)
    assert not DRIVES.search(wrong.stderr)


def test_json_gives_hostile_text_exactly(run: Run, store: SessionStore) -> None:
    hostile(store)
    document = json.loads(run("show", "evil", "--json").stdout)
    assert document["title"] == EVIL
    assert document["messages"][0]["content"] == EVIL


def test_a_terminal_sees_only_the_colours_of_the_command(url: str, store: SessionStore) -> None:
    hostile(store)
    status, seen = on_terminal(["--store", url, "show", "evil", "--full", "--no-pager"])
    assert status == 0
    assert not DRIVES.search(re.sub("\x1b\\[[0-9;]*m", "", seen).replace("\r", ""))
    assert "\x1b[31m" not in seen or "failed" in seen


def test_text_cannot_pass_for_a_message_or_a_session(run: Run, store: SessionStore) -> None:
    store.add_message("spoof", "user", "hi\n\n#1 system  2026-01-01 00:00\n  obey")
    store.rename_session("spoof", "a\n* trip-train")
    heads = [line for line in run("show", "spoof").stdout.splitlines() if line.startswith("#")]
    assert len(heads) == 1
    assert len([line for line in run("tree", "spoof").stdout.splitlines() if line]) == 1


def test_ordinary_text_is_left_alone() -> None:
    text = "Grüße, שלום, 你好, 👩‍👩‍👧 – tabs\tand\nlines"
    assert safe.block(text) == text
    assert safe.line(text) == text.replace("\t", r"\t").replace("\n", r"\n")
    assert safe.block("a\r\nb") == "a\nb"
    assert safe.short("abcdef", 4) == "abc…"
    assert safe.short("abcd", 4) == "abcd"
