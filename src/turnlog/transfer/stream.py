"""Reading a JSON file piece by piece: the members of an object and the elements of an array one at a time, in bounded memory.

A value is parsed by the standard library's parser, so numbers of any size and lone surrogates come out exactly as json.loads gives them.
Memory holds one value, and at most twice its text.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from turnlog.transfer.report import BrokenImportError

PIECE = 256 * 1024
"""Bytes that are read at least."""
LONGEST = 512 * 1024 * 1024
"""Characters of the longest value that is looked at: one session."""
_SPACE = " \t\n\r"
_TOKEN = 16
"""Characters that a number, a word or an escape cut at the end of what was read may leave the parser short of."""


class JsonStream:
    """A JSON text in a file opened for reading bytes; ``path`` is for errors. Every method raises BrokenImportError for what is no JSON."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self.path = path
        self.bytes_read = 0
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._parse = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._dropped = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        """Go past the character ``wanted``."""
        if self.peek() != wanted:
            raise self._broken(f"{wanted!r} was expected")
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _TOKEN
                size = error.pos - self._at
                if cut and self._more():
                    continue
                self._at += size
                # Not chained: the parser's error carries the text.
                raise self._broken("it ends amid a session" if cut else error.msg) from None
            except RecursionError:
                raise self._broken("it is nested too deeply") from None
            size = end - self._at
            # A number may go on behind what was read; every other value says itself where it ends.
            whole = not isinstance(value, int | float) or end < len(self._text) - _TOKEN
            if whole or not self._more():
                self._at += size
                return value

    def members(self) -> Iterator[str]:
        """The keys of the object at hand. For each, the caller takes its value before the next."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            if self.peek() != '"':
                raise self._broken("a key was expected")
            key = self.value()
            self.take(":")
            yield str(key)
            if self.peek() != ",":
                break
            self.take(",")
        self.take("}")

    def elements(self) -> Iterator[Any]:
        """The elements of the array at hand, each parsed whole."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.peek() != ",":
                break
            self.take(",")
        self.take("]")

    def end(self) -> None:
        """See that nothing follows."""
        if self.peek():
            raise self._broken("something follows the end")

    def _more(self) -> bool:
        """Read on, at least as much as is held, so that parsing a long value again and again costs no more than twice."""
        if self._ended:
            return False
        held = self._text[self._at :]
        if len(held) > LONGEST:
            raise self._broken(f"one value has more than {LONGEST} characters")
        data = self._file.read(max(PIECE, len(held)))
        self.bytes_read += len(data)
        self._ended = not data
        try:
            fresh = self._decode(data, not data)
        except UnicodeDecodeError:
            raise self._broken("it is not UTF-8 text") from None
        self._dropped += self._at
        self._text, self._at = held + fresh, 0
        return bool(fresh) or (not self._ended and self._more())

    def _broken(self, what: str) -> BrokenImportError:
        place = self._dropped + self._at
        return BrokenImportError(f"{self.path} is broken at character {place}: {what}; get the file anew, or mend it", path=self.path)
