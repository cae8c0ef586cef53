"""Messages for people: roles in colour, tool calls and reasoning folded, whichever vendor's form the message has."""

from __future__ import annotations

import json

from rich.text import Text

from turnlog.cli import safe
from turnlog.cli.screen import Plain, counted, local_time
from turnlog.forms import Call, Media, Other, Piece, Result, Thinking, read_message
from turnlog.forms import Text as Words
from turnlog.session import SessionMessage

COLOURS = {"user": "bold green", "assistant": "bold cyan", "system": "bold magenta", "tool": "bold yellow"}
CONTEXT = 50
"""How many messages before those shown are looked at for the names of tool calls."""
FOLDED = 100
"""Characters that a folded call or result may take."""


class Transcript:
    """Prints messages one after the other; remembers the names of tool calls for their results. ``full``: nothing is folded."""

    def __init__(self, screen: Plain, *, full: bool = False) -> None:
        self._screen = screen
        self._full = full
        self._names: dict[str, str] = {}
        self._said = Text()
        """What has been said of the message at hand; printed at once, for that is fast."""

    def show(self, index: int | None, message: SessionMessage) -> None:
        """Print one message under a line with its index (None: without), role and time."""
        read = read_message(message.record)
        head = Text()
        if index is not None:
            head.append(f"#{index} ", "dim")
        head.append(safe.line(read.role), COLOURS.get(read.role, "bold"))
        head.append(f"  {local_time(message.timestamp)}", "dim")
        if message.metadata.get("partial"):
            head.append("  unfinished", "yellow")
        self._said = head
        for piece in read.pieces:
            self._piece(piece, "  ")
        if self._full and message.metadata:
            self._lines(f"metadata: {safe.json_text(message.metadata, indent=None)}", "  ", "dim")
        self._screen.put(self._said)

    def pass_over(self, message: SessionMessage) -> None:
        """Note the tool calls of a message that is not to be shown."""
        self._names |= {piece.id: piece.name for piece in read_message(message.record).pieces if isinstance(piece, Call)}

    def _piece(self, piece: Piece, indent: str) -> None:
        match piece:
            case Words(text):
                self._lines(text, indent)
            case Thinking(text, _):
                self._thinking(text, indent)
            case Call():
                self._call(piece, indent)
            case Result():
                self._result(piece, indent)
            case Media():
                self._lines(media_line(piece), indent, "blue")
            case Other(raw):
                folded = f"[{safe.short(str(raw.get('type', 'unknown part')), 40)}]"
                self._lines(safe.json_text(dict(raw)) if self._full else folded, indent, "dim")

    def _thinking(self, text: str, indent: str) -> None:
        if self._full and text:
            self._lines(text, f"{indent}. ", "dim italic")
        else:
            self._lines(f"(thought, {counted(len(text), 'character')})" if text else "(thought, not readable)", indent, "dim")

    def _call(self, call: Call, indent: str) -> None:
        self._names[call.id] = call.name
        if not self._full:
            self._lines(f"-> {safe.short(call.name, 60)} {safe.short(call.arguments, FOLDED)}", indent, "yellow")
            return
        self._lines(f"-> {safe.line(call.name)}  {safe.line(call.id)}", indent, "yellow")
        self._lines(laid_out(call.arguments), f"{indent}   ")

    def _result(self, result: Result, indent: str) -> None:
        name = safe.short(result.name or self._names.get(result.call_id) or result.call_id, 60)
        failed, colour = (" failed", "red") if result.is_error else ("", "yellow")
        if self._full:
            self._lines(f"<- {name}{failed}  {safe.line(result.call_id)}", indent, colour)
            for piece in result.pieces or (Words(result.content),):
                self._piece(piece, f"{indent}   ")
            return
        first, _, rest = result.content.strip().partition("\n")
        more = f"  (+{counted(rest.count(chr(10)) + 1, 'line')})" if rest else ""
        held = " ".join(media_line(piece) for piece in result.pieces if isinstance(piece, Media))
        self._lines(" ".join(filter(None, [f"<- {name}{failed}:", safe.short(first, FOLDED), held])) + more, indent, colour)

    def _lines(self, text: str, indent: str, style: str = "") -> None:
        """The lines of ``text``, each behind the indent, so that no text can pass for the line above a message."""
        for each in safe.block(text).split("\n"):
            self._said.append(f"\n{indent}{each}" if each else "\n", style)


def media_line(media: Media) -> str:
    """An image, a sound or a file as a word in brackets: where it is, or how large."""
    size = f"{len(media.data) * 3 // 4:,} bytes" if media.data else ""
    where = safe.short(media.url, FOLDED) if media.url else size
    return f"[{' '.join(filter(None, [media.kind, safe.short(media.media_type or '', 40), where]))}]"


def laid_out(arguments: str) -> str:
    """The JSON text of a call's arguments, a line for each; as it is where it is no JSON."""
    try:
        return safe.json_text(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments
