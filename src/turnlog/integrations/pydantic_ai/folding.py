"""Folding: JSON data kept beside a record without the long strings that the record holds already, and back, exactly."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

LONG = 64
"""Strings of this many characters or more are worth a reference."""

MARK = "@"
"""A dict with this one key stands for something else: ``{"@": {"path": …}}`` for a string of a record, ``{"@": {"is": …}}`` for itself."""

_URLSAFE = str.maketrans("+/", "-_")

Reference = dict[str, Any]


class JsonText(str):
    """JSON text that stands in the data for the value it spells; folds into a reference that is parsed when read."""

    __slots__ = ()


class MissingTextError(LookupError):
    """A reference points at something that its record no longer holds."""


def fold(data: Any, records: Sequence[Mapping[str, Any]], pieces: Sequence[tuple[int, int]] = ()) -> Any:
    """``data`` (JSON values and JsonText) with references in place of the long strings that ``records`` hold.

    ``pieces`` are stretches (start, stop) of ``records[0]["content"]`` that are worth pointing at by themselves.
    """
    return _fold(data, _index(records, pieces))


def unfold(data: Any, records: Sequence[Mapping[str, Any]]) -> Any:
    """What ``fold`` was given, from what it made and the same records. Raises MissingTextError."""
    kind = type(data)
    if kind is dict:
        if len(data) == 1 and MARK in data:
            inner = data[MARK]
            if isinstance(inner, dict) and "path" in inner:
                return _resolve(inner, records)
            if isinstance(inner, dict) and isinstance(inner.get("is"), dict):
                return {key: unfold(value, records) for key, value in inner["is"].items()}
            raise MissingTextError("a reference without a path")
        return {key: unfold(value, records) for key, value in data.items()}
    if kind is list:
        return [unfold(value, records) for value in data]
    return data


def checksum(record: Mapping[str, Any]) -> int:
    """A number that changes when the record does: CRC-32 of its JSON text with sorted keys."""
    return zlib.crc32(_encode(record).encode("ascii"))


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def _fold(data: Any, index: Mapping[str, Reference]) -> Any:
    kind = type(data)
    if kind is str:
        return {MARK: index[data]} if len(data) >= LONG and data in index else data
    if kind is dict:
        folded = {key: _fold(value, index) for key, value in data.items()}
        return {MARK: {"is": folded}} if len(data) == 1 and MARK in data else folded
    if kind is list:
        return [_fold(value, index) for value in data]
    if kind is JsonText:
        reference = index.get(str(data)) if len(data) >= LONG else None
        return {MARK: {**reference, "as": "json"}} if reference and "as" not in reference else _fold(json.loads(data), index)
    return data


def _index(records: Sequence[Mapping[str, Any]], pieces: Sequence[tuple[int, int]]) -> dict[str, Reference]:
    index: dict[str, Reference] = {}
    for number, record in enumerate(records):
        source: Reference = {"in": number} if number else {}
        todo: list[tuple[list[str | int], Any]] = [([], record)]
        while todo:
            path, value = todo.pop()
            if isinstance(value, Mapping):
                todo.extend(([*path, key], child) for key, child in value.items())
            elif isinstance(value, list):
                todo.extend(([*path, place], child) for place, child in enumerate(value))
            elif isinstance(value, str) and len(value) >= LONG:
                index[value] = {**source, "path": path}
                if value.startswith("data:") and (start := value.find(";base64,") + 8) > 8:
                    index[value[start:]] = {**source, "path": path, "from": start}
    _index_urlsafe(index)
    for start, stop in pieces:
        if stop - start >= LONG:
            index.setdefault(records[0]["content"][start:stop], {"path": ["content"], "from": start, "to": stop})
    return index


def _index_urlsafe(index: dict[str, Reference]) -> None:
    """Base64 in the other alphabet, in which pydantic writes bytes."""
    for text, reference in list(index.items()):
        if ("+" in text or "/" in text) and (other := text.translate(_URLSAFE)) != text and other.isascii() and " " not in other:
            index.setdefault(other, {**reference, "as": "urlsafe"})


def _resolve(reference: Reference, records: Sequence[Mapping[str, Any]]) -> Any:
    try:
        value: Any = records[reference.get("in", 0)]
        for step in reference["path"]:
            value = value[step]
        text: str = value[reference.get("from", 0) : reference.get("to")]
        if not isinstance(text, str):
            raise TypeError
        form = reference.get("as")
        return json.loads(text) if form == "json" else text.translate(_URLSAFE) if form == "urlsafe" else text
    except (LookupError, TypeError, ValueError):
        # Not chained: the error may carry the text, which is nobody's business but the user's.
        raise MissingTextError(f"no text at {reference.get('path')!r:.120}") from None
