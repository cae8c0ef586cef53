"""Telegram's parse_mode HTML, as strict as Telegram is: the text that is shown and its entities, or why it is refused."""

from __future__ import annotations

import re

_TAG = re.compile(r"<(/?)([A-Za-z0-9-]*)((?:\s+[A-Za-z-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>]+))?)*)\s*>")
_ATTRIBUTE = re.compile(r"([A-Za-z-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'=<>]+)))?")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#x([0-9A-Fa-f]{1,6})|(lt|gt|amp|quot));?")
KINDS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
}


class BadHtml(Exception):
    """Telegram answers 400 with this description."""


def units(text: str) -> int:
    """The length as Telegram counts it."""
    return len(text.encode("utf-16-le")) // 2


def parse(html: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The text that is shown, and (kind, text, argument) of each entity in the order of their ends. Raises BadHtml."""
    shown = ""
    open_tags: list[tuple[str, str, int]] = []
    found: list[tuple[str, str, str]] = []
    at = 0
    while at < len(html):
        sign = html[at]
        if sign == "&" and (entity := _ENTITY.match(html, at)):
            shown += _NAMED[entity[3]] if entity[3] else chr(int(entity[1] or entity[2], 10 if entity[1] else 16))
            at = entity.end()
        elif sign == "<":
            tag = _TAG.match(html, at)
            where = f"at byte offset {len(html[:at].encode())}"
            if tag is None:
                raise BadHtml(f"can't parse entities: Unclosed start tag {where}")
            name = tag[2].lower()
            if not tag[1]:
                if name not in KINDS:
                    raise BadHtml(f'can\'t parse entities: Unsupported start tag "{name}" {where}')
                open_tags.append((name, _argument(name, tag[3]), len(shown)))
            else:
                if not open_tags:
                    raise BadHtml(f"can't parse entities: Unexpected end tag {where}")
                begun, argument, start = open_tags.pop()
                if name not in ("", begun):
                    raise BadHtml(f'can\'t parse entities: Unmatched end tag {where}, expected "</{begun}>", found "</{name}>"')
                if len(shown) > start:
                    found.append((KINDS[begun], shown[start:], argument))
            at = tag.end()
        else:
            shown += sign
            at += 1
    if open_tags:
        raise BadHtml(f"can't parse entities: Can't find end tag corresponding to start tag \"{open_tags[-1][0]}\"")
    return shown, found


def _argument(name: str, attributes: str) -> str:
    given = {each[1].lower(): each[2] or each[3] or each[4] or "" for each in _ATTRIBUTE.finditer(attributes)}
    if name == "a":
        return _ENTITY.sub(lambda entity: _NAMED.get(entity[3], entity[0]), given.get("href", ""))
    if name == "code":
        return given.get("class", "").removeprefix("language-")
    return ""
