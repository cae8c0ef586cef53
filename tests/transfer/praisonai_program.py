"""Fills a directory and a transcript file with the real praisonaiagents, and prints what it gives back of them. Run as a program."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from praisonaiagents.session import DefaultSessionStore, HierarchicalSessionStore, SqliteTranscriptStore

CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def main(folder: Path) -> None:
    """Make ``folder/sessions`` and ``folder/t/sessions.db``."""
    tree = HierarchicalSessionStore(session_dir=str(folder / "sessions"))
    tree.create_session("parent", title="Main")
    for number in range(6):
        tree.add_message("parent", "assistant" if number % 2 else "user", f"parent {number} 🙂")
    tree.create_snapshot("parent", label="six")
    child = tree.fork_session("parent", from_message_index=3, title="Branch")
    tree.add_message(child, "user", "child")
    tree.add_message("parent", "user", "seven")
    tree.revert_to_message("parent", 4)
    plain = DefaultSessionStore(session_dir=str(folder / "sessions"))
    plain.add_message("tools/x", "user", "w?")
    plain.add_message("tools/x", "assistant", "", tool_calls=CALL)
    plain.add_message("tools/x", "tool", "r", tool_call_id="c")
    plain.set_agent_info("tools/x", "Agent", "user-1")
    plain.update_session_metadata("tools/x", model="gpt", cost=0.5)
    window = DefaultSessionStore(session_dir=str(folder / "sessions"), retention="compact", active_window=4, max_messages=4)
    for number in range(12):
        window.add_message("long", "assistant" if number % 2 else "user", f"long {number}")
    transcripts = SqliteTranscriptStore(session_dir=str(folder / "t"), db_path=str(folder / "t" / "sessions.db"))
    for number in range(3):
        transcripts.add_message("row/1", "user", f"row {number}")
    transcripts.add_message("row2", "user", "x")
    print(json.dumps({"child": child, "parent": [message["content"] for message in tree.get_chat_history("parent")]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
