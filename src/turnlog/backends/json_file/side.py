"""The side file: changes of a long session's fields, and drafts, kept beside the document so that they need no rewrite of it.

It belongs to one edition of the document. Its rename is the commit. Each change holds the value it replaces: where another program
has changed that value in the document since, the document wins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnlog.backends.json_file.document import dump
from turnlog.errors import FormatVersionError

FORMAT = 1
_ABSENT: Any = object()


@dataclass(slots=True)
class Side:
    """What a side file holds. ``changes`` counts the changes of fields, which the head's counter includes."""

    born: str
    edition: int
    changes: int = 0
    fields: list[dict[str, Any]] = field(default_factory=list)
    """``{"at": [key] or ["metadata", key], "old": …, "new": …}``; a missing "old" or "new" means no such key."""
    drafts: dict[str, str | None] = field(default_factory=dict)


def side_text(side: Side) -> str:
    """The file's content."""
    values = {"format": FORMAT, "born": side.born, "edition": side.edition, "changes": side.changes}
    return dump({**values, "fields": side.fields, "drafts": side.drafts}) + "\n"


def parse_side(text: str) -> Side:
    """What ``side_text`` wrote. Raises ValueError, FormatVersionError."""
    data = json.loads(text)
    try:
        if data["format"] > FORMAT:
            found = data["format"]
            raise FormatVersionError(
                f"the side file has format {found!r:.20}, this turnlog reads up to {FORMAT}: install a newer turnlog",
                found=found,
                supported=FORMAT,
            )
        return Side(data["born"], data["edition"], data["changes"], data["fields"], data["drafts"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no side file: {error!r}") from error


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The changes that make ``new`` of ``old``; the keys of the metadata are looked at one by one."""
    before, after = _spread(old), _spread(new)
    changes = []
    for place in [*after, *[place for place in before if place not in after]]:
        was, now = before.get(place, _ABSENT), after.get(place, _ABSENT)
        if was is _ABSENT or now is _ABSENT or dump(was) != dump(now):
            change: dict[str, Any] = {"at": list(place)}
            changes.append(change | {name: value for name, value in (("old", was), ("new", now)) if value is not _ABSENT})
    return changes


def with_changes(fields: Mapping[str, Any], changes: list[dict[str, Any]]) -> dict[str, Any]:
    """``fields`` after the changes; one whose place no longer holds the old value is left out."""
    merged = _spread(fields)
    for change in changes:
        place = tuple(change["at"])
        is_now, was = merged.get(place, _ABSENT), change.get("old", _ABSENT)
        if (is_now is _ABSENT) != (was is _ABSENT) or (was is not _ABSENT and dump(is_now) != dump(was)):
            continue
        if "new" in change:
            merged[place] = change["new"]
        else:
            merged.pop(place, None)
    return _gathered(merged)


def _spread(fields: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    spread: dict[tuple[str, ...], Any] = {}
    for key, value in fields.items():
        if key == "metadata" and isinstance(value, dict) and value:
            spread |= {(key, inner): each for inner, each in value.items()}
        else:
            spread[(key,)] = value
    return spread


def _gathered(spread: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for (key, *inner), value in spread.items():
        if inner:
            fields.setdefault(key, {})[inner[0]] = value
        else:
            fields[key] = value
    return fields
