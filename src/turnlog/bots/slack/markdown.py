"""Markdown as Slack's rich text: told as structure, so that nothing in it is read as anything but what was meant."""

from __future__ import annotations

import json
import re
from typing import Any

from turnlog.bots.marked import Block, Run, blocks_of

Json = dict[str, Any]

LONGEST = 4000
"""Characters that the text of one message may have."""
LARGEST = 12_000
"""Characters of rich text as JSON that Slack surely takes; somewhat above it refuses them."""
LONGEST_NOTICE = 1000
"""Characters of the text that stands for rich text in notifications."""
_ADDRESS = re.compile(r"https?://[^\s<>]+[^\s<>.,;:!?'\")\]}]")


def to_slack(text: str) -> Json:
    """The fields of a message that shows ``text``: rich text, and its words for notifications."""
    clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    found = blocks_of(clean)
    elements = [element for element in map(_element, found) if element["elements"]]
    blocks = [{"type": "rich_text", "elements": elements}]
    if not elements or len(json.dumps(blocks, ensure_ascii=False)) > LARGEST:
        return to_plain(clean)
    return {"text": escaped("\n".join(block.text for block in found)[:LONGEST_NOTICE]), "blocks": blocks}


def to_plain(text: str) -> Json:
    """The fields of a message that shows ``text`` as it was written."""
    clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return {"text": escaped(clean), "blocks": [], "mrkdwn": False}


def escaped(text: str) -> str:
    """``text`` in which nothing is a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _element(block: Block) -> Json:
    if block.kind == "code":
        return {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": block.text or " "}]}
    kind = "rich_text_quote" if block.kind == "quote" else "rich_text_section"
    return {"type": kind, "elements": [each for run in block.runs for each in _words(run)]}


def _words(run: Run) -> list[Json]:
    style: Json = {"style": dict.fromkeys(run.styles, True)} if run.styles else {}
    if run.url is not None:
        return [{"type": "link", "url": run.url, "text": run.text, **style}]
    if "code" in run.styles:
        return [{"type": "text", "text": run.text, **style}]
    # In rich text an address becomes a link only where it is told to be one.
    words: list[Json] = []
    at = 0
    for address in _ADDRESS.finditer(run.text):
        words += [{"type": "text", "text": run.text[at : address.start()], **style}, {"type": "link", "url": address[0], **style}]
        at = address.end()
    words.append({"type": "text", "text": run.text[at:], **style})
    return [each for each in words if each.get("text") != ""]
