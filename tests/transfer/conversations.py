"""Conversations as ChatGPT exports them, built node by node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO


def node(
    name: str,
    parent: str | None,
    role: str | None = None,
    text: str | None = None,
    *,
    content: dict[str, Any] | None = None,
    at: float | None = None,
    author: str | None = None,
    recipient: str = "all",
    **metadata: Any,
) -> dict[str, Any]:
    """A node of a mapping; without a role it has no message, as the root of every conversation."""
    message = None
    if role is not None:
        message = {
            "id": name,
            "author": {"role": role, "name": author, "metadata": {}},
            "create_time": at,
            "update_time": None,
            "content": content or {"content_type": "text", "parts": [text]},
            "status": "finished_successfully",
            "end_turn": True,
            "weight": 1.0,
            "metadata": metadata,
            "recipient": recipient,
            "channel": None,
        }
    return {"id": name, "message": message, "parent": parent, "children": []}


def conversation(name: str | None, current: str | None, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A conversation; the children are those that name a parent."""
    mapping = {each["id"]: each for each in nodes}
    for each in nodes:
        if each["parent"] in mapping:
            mapping[each["parent"]]["children"].append(each["id"])
    return {
        "title": "Rome",
        "create_time": 1700000000.5,
        "update_time": 1700000900.0,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": current,
        "conversation_id": name,
        "default_model_slug": "gpt-4o",
        "id": name,
        **more,
    }


def regenerated() -> dict[str, Any]:
    """A question whose answer was made anew, an edit in the middle of a branch, a tool, an image, hidden nodes."""
    image = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1", "width": 10, "height": 20}
    return conversation(
        "6750c0de",
        "a4",
        node("root", None),
        node("sys", "root", "system", "", is_visually_hidden_from_conversation=True),
        node(
            "about", "sys", "user", content={"content_type": "user_editable_context", "user_profile": "I am Ada", "user_instructions": ""}
        ),
        node("hint", "about", "user", "Never shown", is_visually_hidden_from_conversation=True),
        node("u1", "hint", "user", "Where?", at=1700000001.0),
        node("a1", "u1", "assistant", "Here.", at=1700000002.0, model_slug="gpt-4o"),
        node("a1b", "u1", "assistant", "There.", at=1700000003.0, model_slug="gpt-4o"),
        node("u2", "a1b", "user", at=1700000004.0, content={"content_type": "multimodal_text", "parts": [image, "What is this?"]}),
        node(
            "c2", "u2", "assistant", at=1700000005.0, recipient="python", content={"content_type": "code", "language": "py", "text": "1+1"}
        ),
        node("t2", "c2", "tool", at=1700000006.0, author="python", content={"content_type": "execution_output", "text": "2"}),
        node("a2", "t2", "assistant", "Two.", at=1700000007.0),
        node("u2b", "a1b", "user", "Edited", at=1700000008.0),
        node("a2b", "u2b", "assistant", "Fine.", at=1700000009.0),
        node("a2c", "u2b", "assistant", "Finer.", at=1700000010.0),
        node("u4", "a1", "user", "Thanks", at=1700000011.0),
        node("a4", "u4", "assistant", "Bye.", at=1700000012.0),
        node("end", "a4", "tool", "", author="bio"),
    )


def write_large(out: TextIO, size: int) -> int:
    """Write an export of at least ``size`` characters; how many conversations it holds. Each has two answers to its last question."""
    count = written = 0
    filler = "All roads lead to Rome, they say, and they are right. 🙂 " * 20
    out.write("[")
    while written < size:
        nodes = [node("root", None)]
        for at in range(40):
            nodes.append(node(f"n{at}", nodes[-1]["id"], "assistant" if at % 2 else "user", f"{count} {at} {filler}", at=1700000000.0 + at))
        nodes.append(node("other", "n38", "assistant", f"{count} other", at=1700000099.0))
        text = json.dumps(conversation(f"c{count}", "n39", *nodes), ensure_ascii=False)
        out.write(("," if count else "") + text)
        written += len(text)
        count += 1
    out.write("]")
    return count


def export(path: Path, *conversations: Any) -> Path:
    """A ``conversations.json``."""
    path.write_text(json.dumps(conversations), encoding="utf-8")
    return path
