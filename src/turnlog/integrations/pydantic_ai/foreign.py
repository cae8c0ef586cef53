"""Records that pydantic-ai did not write, in any vendor's form, as the pydantic-ai messages that say the same."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    DocumentUrl,
    FilePart,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UploadedFile,
    UserContent,
    UserPromptPart,
)

from turnlog.forms import Call, Media, Piece, Result, Text, read_message
from turnlog.messages import SessionMessage

Pair = tuple[list[SessionMessage], ModelMessage]

_GUESSES = {"image": "image/png", "audio": "audio/wav", "file": "application/octet-stream"}


class ForeignReader:
    """Reads the records of one history; a result is given the name of its call, wherever in the history that is."""

    def __init__(self, stored: Sequence[SessionMessage]) -> None:
        self._stored = stored
        self._names: dict[str, str] | None = None

    def messages(self, records: Iterable[SessionMessage]) -> list[Pair]:
        """The messages of neighbouring records. Results and the prompt after them are one request; items of one answer are one response."""
        pairs: list[Pair] = []
        joins: type[ModelMessage] | None = None
        for stored in records:
            loose = "role" not in stored.record
            if read_message(stored.record).role == "assistant":
                said = self.response_parts(stored)
                if loose and not said:
                    continue
                if pairs and isinstance(last := pairs[-1][1], ModelResponse) and (loose or joins is ModelResponse):
                    last.parts = [*last.parts, *said]
                    pairs[-1][0].append(stored)
                else:
                    pairs.append(([stored], ModelResponse(parts=said, timestamp=_time(stored))))
                joins = ModelResponse if loose else None
            elif given := self.request_parts(stored):
                if pairs and isinstance(last := pairs[-1][1], ModelRequest) and joins is ModelRequest:
                    last.parts = [*last.parts, *given]
                    pairs[-1][0].append(stored)
                else:
                    pairs.append(([stored], ModelRequest(parts=given)))
                joins = None if any(isinstance(part, UserPromptPart) for part in given) else ModelRequest
        return pairs

    def response_parts(self, stored: SessionMessage) -> list[ModelResponsePart]:
        """What the model said and called in one record. Reasoning is left out: its signature holds only where it was made."""
        parts: list[ModelResponsePart] = []
        for piece in read_message(stored.record).pieces:
            if isinstance(piece, Text) and piece.text:
                parts.append(TextPart(content=piece.text))
            elif isinstance(piece, Call):
                parts.append(ToolCallPart(tool_name=piece.name, args=piece.arguments, tool_call_id=piece.id))
            elif isinstance(piece, Media) and isinstance(content := _media(piece), BinaryContent):
                parts.append(FilePart(content=content))
        return parts

    def request_parts(self, stored: SessionMessage) -> list[ModelRequestPart]:
        """What one record tells the model: results first, then the prompt."""
        message = read_message(stored.record)
        moment = _time(stored)
        results = [piece for piece in message.pieces if isinstance(piece, Result)]
        parts: list[ModelRequestPart] = [
            ToolReturnPart(
                tool_name=piece.name or self._tool_names().get(piece.call_id, "unknown"),
                content=_result_content(piece),
                tool_call_id=piece.call_id,
                outcome="failed" if piece.is_error else "success",
                timestamp=moment,
            )
            for piece in results
        ]
        content = _user_content(message.pieces)
        if message.role == "system":
            text = "\n\n".join(each for each in content if isinstance(each, str))
            return [*parts, SystemPromptPart(content=text, timestamp=moment)]
        if content or not (results or "role" not in stored.record):
            only = content[0] if len(content) == 1 and isinstance(content[0], str) else content or ""
            parts.append(UserPromptPart(content=only, timestamp=moment))
        return parts

    def _tool_names(self) -> dict[str, str]:
        if self._names is None:
            self._names = {
                piece.id: piece.name for stored in self._stored for piece in read_message(stored.record).pieces if isinstance(piece, Call)
            }
        return self._names


def _user_content(pieces: Iterable[Piece]) -> list[UserContent]:
    content: list[UserContent] = []
    for piece in pieces:
        if isinstance(piece, Text):
            content.append(piece.text)
        elif isinstance(piece, Media) and (item := _media(piece)) is not None:
            content.append(item)
    return content


def _result_content(result: Result) -> Any:
    if any(isinstance(piece, Media) for piece in result.pieces):
        return _user_content(result.pieces)
    return result.content


def _media(piece: Media) -> ImageUrl | AudioUrl | DocumentUrl | BinaryContent | UploadedFile | None:
    if piece.data is not None:
        try:
            data = base64.b64decode(piece.data, validate=True)
        except binascii.Error:
            return None
        return BinaryContent.narrow_type(BinaryContent(data=data, media_type=piece.media_type or _GUESSES[piece.kind]))
    if piece.url is not None:
        kinds: dict[str, type[ImageUrl | AudioUrl | DocumentUrl]] = {"image": ImageUrl, "audio": AudioUrl}
        return kinds.get(piece.kind, DocumentUrl)(url=piece.url, media_type=piece.media_type)
    return _uploaded(piece.raw)


def _uploaded(raw: Mapping[str, Any]) -> UploadedFile | None:
    """A file by its id: within ``source`` in Anthropic's form, within ``file`` or plainly in OpenAI's."""
    for provider, holder in (("anthropic", raw.get("source")), ("openai", raw.get("file")), ("openai", raw)):
        if isinstance(holder, Mapping) and isinstance(identity := holder.get("file_id"), str) and identity:
            return UploadedFile(file_id=identity, provider_name="anthropic" if provider == "anthropic" else "openai")
    return None


def _time(stored: SessionMessage) -> datetime:
    return datetime.fromtimestamp(stored.timestamp, UTC)
