"""ChatGPT's ``conversations.json``: a conversation is a tree of nodes; the way to its current node is a session, every other leaf a fork.

What is read of a node: author, content, times. Nodes that the user never saw (system, hidden, empty) are left out. What a tool said
becomes text of the assistant, since the export holds no calls that it could answer; ``metadata["chatgpt"]`` keeps who said it. Parts
that are no text (images, audio) are shown as parts of text that name them, and are kept whole in that metadata.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnlog.errors import InvalidMessageError, SessionError
from turnlog.messages import MAX_SESSION_ID_LENGTH, Record, encode_message, json_copy
from turnlog.store.branching import fork_title
from turnlog.transfer.carried import Carried, Origin
from turnlog.transfer.report import Skip
from turnlog.transfer.stream import JsonStream

TITLE = 500
"""Characters of the longest title."""
_SPEAKERS = {"user": "user", "assistant": "assistant", "tool": "assistant"}
_TEXT_KEYS = ("text", "result", "content", "summary")
"""Where contents that have no parts keep their text."""


def read_chatgpt(stream: JsonStream, when: float) -> Iterator[Carried | Skip]:
    """The sessions of an array of conversations, or of one. ``when``: the time of what names none. Raises BrokenImportError."""
    conversations = iter([stream.value()]) if stream.peek() == "{" else stream.elements()
    for index, conversation in enumerate(conversations):
        name = f"conversation {index}"
        try:
            if not isinstance(conversation, Mapping) or not isinstance(conversation.get("mapping"), Mapping):
                raise InvalidMessageError("this is no conversation with a mapping of nodes")
            tree = _Tree(conversation, when)
            name = tree.name
            sessions = list(tree.sessions())
            if not any(session.records for session in sessions):
                raise InvalidMessageError("this conversation shows no messages")
        except SessionError as refusal:
            yield Skip(name, str(refusal))
        else:
            yield from sessions
    stream.end()


@dataclass(slots=True)
class _Shown:
    """A node that has its place in a session: which, and how many messages the session has up to and with it."""

    session: str
    count: int


@dataclass(slots=True)
class _Tree:
    """One conversation."""

    conversation: Mapping[str, Any]
    when: float
    name: str = ""
    _shown: dict[str, _Shown] = field(default_factory=dict)
    _histories: dict[str, list[Record]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.when = _moment(self.conversation.get("create_time")) or self.when
        for given in (self.conversation.get("id"), self.conversation.get("conversation_id")):
            if isinstance(given, str) and 0 < len(given) <= MAX_SESSION_ID_LENGTH // 2:
                self.name = given
                break
        else:
            seed = "\0".join([repr(self.when), *map(str, self.conversation["mapping"])])
            self.name = "chatgpt-" + _hash(seed)

    def sessions(self) -> Iterator[Carried]:
        """The conversation's current line first, then each other leaf that shows something of its own."""
        nodes: Mapping[str, Any] = self.conversation["mapping"]
        parents = {name: _parent(node, name, nodes) for name, node in nodes.items()}
        current = self.conversation.get("current_node")
        above = {parent for parent in parents.values() if parent is not None}
        leaves = [name for name in nodes if name not in above]
        if not (isinstance(current, str) and current in nodes):
            current = max(leaves, key=lambda name: _time_of(nodes[name]) or 0.0, default=None)
        if current is None and nodes:
            raise InvalidMessageError("the parents of its nodes go in a circle")
        for name in [current, *leaves]:
            if name is not None and name not in self._shown:
                session = self._line(name, parents, nodes, first=name == current)
                if session is not None:
                    yield session
        if len(self._shown) < len(nodes):
            raise InvalidMessageError("the parents of its nodes go in a circle")

    def _line(self, leaf: str, parents: Mapping[str, str | None], nodes: Mapping[str, Any], *, first: bool) -> Carried | None:
        """The session that ends in ``leaf``; None where it shows nothing that another does not."""
        way: list[str] = []
        on_way = set()
        at: str | None = leaf
        while at is not None and at not in self._shown:
            if at in on_way:
                raise InvalidMessageError("the parents of its nodes go in a circle")
            on_way.add(at)
            way.append(at)
            at = parents[at]
        branch = self._shown[at] if at is not None else None
        name = self.name if first else self._fork_name(leaf)
        history = self._histories[branch.session][: branch.count] if branch else []
        taken = len(history)
        places = []
        for node in reversed(way):
            record = self._record(node, nodes[node])
            if record is not None:
                history.append(record)
            places.append((node, len(history)))
        if len(history) == taken and not first:
            # Shows nothing of its own: its nodes belong to the line that it hangs on.
            name = branch.session if branch else self.name
        else:
            self._histories[name] = history
        self._shown.update({node: _Shown(name, count) for node, count in places})
        if len(history) == taken and not first:
            return None
        origin = Origin(branch.session, branch.count - 1, False) if branch else None
        began = self.when if first else history[taken].time
        changed = max([began, *[record.time for record in history]])
        return Carried(name, history, began, changed, self._fields(first=first), origin)

    def _record(self, name: str, node: object) -> Record | None:
        """The message of a node; None where it shows none. Raises InvalidMessageError for what is no node."""
        if not isinstance(node, Mapping):
            raise InvalidMessageError("one of its nodes is no object")
        message = node.get("message")
        if message is None:
            return None
        if not isinstance(message, Mapping):
            raise InvalidMessageError("the message of one of its nodes is no object")
        author, metadata = _object(message, "author"), _object(message, "metadata")
        role = author.get("role")
        if not isinstance(role, str) or role not in _SPEAKERS or metadata.get("is_visually_hidden_from_conversation"):
            return None
        content, kept = read_content(_object(message, "content"))
        if not content:
            return None
        note = {"tool": author.get("name") or "tool"} if role == "tool" else {}
        note |= {"to": message["recipient"]} if message.get("recipient") not in (None, "all") else {}
        note |= {"model": metadata["model_slug"]} if isinstance(metadata.get("model_slug"), str) else {}
        note |= {"content": kept} if kept is not None else {}
        identity = name if 0 < len(name) <= 256 and name.isprintable() else "c" + _hash(name)
        stamp = _moment(message.get("create_time")) or self.when
        envelope = {"id": identity, "timestamp": stamp, "metadata": {"chatgpt": note} if note else {}}
        return encode_message({"role": _SPEAKERS[role], "content": content, **envelope})

    def _fork_name(self, leaf: str) -> str:
        name = f"{self.name}.{leaf}"
        return name if len(name) <= MAX_SESSION_ID_LENGTH else f"{self.name}.{_hash(leaf)}"

    def _fields(self, *, first: bool) -> dict[str, Any]:
        title = self.conversation.get("title")
        shown = title[:TITLE] if isinstance(title, str) and title.strip() else "Untitled"
        metadata = {"source": "chatgpt"}
        model = self.conversation.get("default_model_slug")
        if isinstance(model, str) and model:
            metadata["model"] = model
        fields: dict[str, Any] = json_copy({"title": shown if first else fork_title(shown), "metadata": metadata}, "conversation")
        return fields


# Contents -------------------------------------------------------------------------------------------------------------


def read_content(content: Mapping[str, Any]) -> tuple[str | list[dict[str, Any]], Any]:
    """A content as text or parts of text, "" for none; and the content as it was, where text does not hold all of it."""
    parts = content.get("parts")
    if isinstance(parts, list):
        if all(isinstance(part, str) for part in parts):
            return "\n".join(part for part in parts if part.strip()), None
        shown = [{"type": "text", "text": text} for text in map(_part_text, parts) if text.strip()]
        return shown, content
    kind = content.get("content_type")
    kind = kind if isinstance(kind, str) else None
    text = "\n".join(text for text in map(_plain, (content.get(key) for key in _TEXT_KEYS)) if text)
    if not text and isinstance(content.get("thoughts"), list):
        text = "\n".join(
            filter(None, (_plain(_object(each, "").get("content")) for each in content["thoughts"] if isinstance(each, Mapping)))
        )
    if not text:
        # Contents about the user and the model's memory were never shown; anything else is named rather than lost.
        about = {"user_editable_context", "model_editable_context", "text", "multimodal_text", "thoughts", "reasoning_recap", None}
        return ("", None) if kind in about or not content else (f"[{str(kind)[:80]}]", content)
    rest = {key: value for key, value in content.items() if key not in _TEXT_KEYS or not _plain(value)}
    return text, rest if kind != "text" else None


def _part_text(part: object) -> str:
    """A part as text: its own, or the name of what it points to."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        return ""
    kind, pointer = part.get("content_type"), part.get("asset_pointer")
    if text := _plain(part.get("text")):
        return text
    return f"[{str(kind or 'part')[:80]} {pointer[:300]}]" if isinstance(pointer, str) else f"[{str(kind or 'part')[:80]}]"


def _plain(value: object) -> str:
    return value if isinstance(value, str) and value.strip() else ""


# Nodes ----------------------------------------------------------------------------------------------------------------


def _parent(node: object, name: str, nodes: Mapping[str, Any]) -> str | None:
    """The parent that a node names; None for a root, and where there is no such node."""
    parent = node.get("parent") if isinstance(node, Mapping) else None
    return parent if isinstance(parent, str) and parent in nodes else None


def _object(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key) if key else value
    return found if isinstance(found, Mapping) else {}


def _time_of(node: object) -> float | None:
    message = node.get("message") if isinstance(node, Mapping) else None
    return _moment(message.get("create_time")) if isinstance(message, Mapping) else None


def _moment(value: object) -> float | None:
    """Seconds since the epoch, between the years 1970 and 9999; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value < 253_402_300_799:
        return None
    return float(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
