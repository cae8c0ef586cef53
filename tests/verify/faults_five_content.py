"""Planted faults in five-method stores: texts and ids. The docstring of each says what is wrong with it."""

from __future__ import annotations

import unicodedata
from typing import Any

from tests.verify.document_store import DocumentStore
from tests.verify.planting import fault


@fault("3.7.2")
class CutsAtNul(DocumentStore):
    """Text ends at its first NUL, as in C."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return super().add_message(session_id, role, content.split("\0")[0], metadata)


@fault("3.7.2")
class RefusesNulSilently(DocumentStore):
    """Answers False to a text that its engine does not take."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return "\0" not in content and super().add_message(session_id, role, content, metadata)


@fault("3.7.3")
class ReplacesSurrogates(DocumentStore):
    """Writes a question mark for what UTF-8 does not hold."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return super().add_message(session_id, role, content.encode("utf-8", "replace").decode(), metadata)


@fault("3.7.1")
class StripsSpaces(DocumentStore):
    """Tidies the text."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return super().add_message(session_id, role, content.strip(), metadata)


@fault("3.7")
class NormalisesText(DocumentStore):
    """Composes what came decomposed."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return super().add_message(session_id, role, unicodedata.normalize("NFC", content), metadata)


@fault("3.7.4")
class CutsLongText(DocumentStore):
    """Keeps 64 KiB of a text, as a column of that size does."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return super().add_message(session_id, role, content[:65535], metadata)


class _Renames(DocumentStore):
    """Keeps sessions under another name."""

    def name(self, session_id: str) -> str:
        raise NotImplementedError

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return super().add_message(self.name(session_id), role, content, metadata)

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return super().get_chat_history(self.name(session_id), max_messages)

    def clear_session(self, session_id: str) -> bool:
        return super().clear_session(self.name(session_id))

    def delete_session(self, session_id: str) -> bool:
        return super().delete_session(self.name(session_id))

    def session_exists(self, session_id: str) -> bool:
        return super().session_exists(self.name(session_id))


@fault("3.8")
class SanitisesIds(_Renames):
    """Makes an underscore of all but letters, digits, - and _."""

    def name(self, session_id: str) -> str:
        return "".join(c if c.isalnum() or c in "-_" else "_" for c in session_id)


@fault("3.8")
class FoldsIds(_Renames):
    """Does not tell A from a."""

    def name(self, session_id: str) -> str:
        return session_id.casefold()


@fault("3.8")
class NormalisesIds(_Renames):
    """Does not tell normal forms apart, as some file systems."""

    def name(self, session_id: str) -> str:
        return unicodedata.normalize("NFC", session_id)


@fault("3.8")
class CutsIds(_Renames):
    """Keeps the first 255 characters of an id."""

    def name(self, session_id: str) -> str:
        return session_id[:255]


@fault("3.8")
class StripsIds(_Renames):
    """Trims spaces and trailing dots."""

    def name(self, session_id: str) -> str:
        return session_id.strip().rstrip(".") or session_id
