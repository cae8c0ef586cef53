"""Markdown as blocks of styled runs of text, for platforms that have a form of their own for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

from turnlog.bots.markdown import to_html

Kind = Literal["text", "quote", "code"]
Style = Literal["bold", "italic", "strike", "code"]

_STYLES: dict[str, Style] = {"b": "bold", "i": "italic", "s": "strike", "code": "code"}
_KINDS: dict[str, Kind] = {"pre": "code", "blockquote": "quote"}


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one look. ``styles`` in the order in which they began; ``url`` where it is a link."""

    text: str
    styles: tuple[Style, ...] = ()
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of one kind. ``language`` is that of a block of code, if it was told."""

    kind: Kind
    runs: tuple[Run, ...]
    language: str = ""

    @property
    def text(self) -> str:
        """The words alone."""
        return "".join(run.text for run in self.runs)


def blocks_of(text: str) -> list[Block]:
    """``text`` as blocks, each on lines of its own. What is no markdown is text as it was written."""
    reader = _Reader()
    reader.feed(to_html(text))
    reader.close()
    return list(_trimmed(reader.blocks()))


class _Reader(HTMLParser):
    """Reads the few tags that ``to_html`` writes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[tuple[Kind, str, list[Run]]] = []
        self._kind: Kind = "text"
        self._styles: list[Style] = []
        self._url: str | None = None

    def blocks(self) -> Iterator[Block]:
        """What was read."""
        for kind, language, runs in self._blocks:
            yield Block(kind, tuple(runs), language)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A block or a style begins."""
        told = dict(attrs)
        if tag in _KINDS:
            self._begin(_KINDS[tag])
        elif tag == "a":
            self._url = told["href"]
        elif tag == "code" and self._kind == "code":
            kind, _, runs = self._blocks[-1]
            self._blocks[-1] = (kind, (told["class"] or "").removeprefix("language-"), runs)
        else:
            self._styles.append(_STYLES[tag])

    def handle_endtag(self, tag: str) -> None:
        """A block or a style ends."""
        if tag in _KINDS:
            self._begin("text")
        elif tag == "a":
            self._url = None
        elif self._kind != "code":
            self._styles.pop()

    def handle_data(self, data: str) -> None:
        """Text."""
        if not self._blocks:
            self._begin("text")
        self._blocks[-1][2].append(Run(data, tuple(self._styles), self._url))

    def _begin(self, kind: Kind) -> None:
        self._kind = kind
        self._blocks.append((kind, "", []))


def _trimmed(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks without the ends of lines that stood between them, and without those of text that has nothing else."""
    found = list(blocks)
    for place, block in enumerate(found):
        if block.kind != "text":
            yield block
            continue
        runs = list(block.runs)
        if runs and place and runs[0].text.startswith("\n"):
            runs[0] = Run(runs[0].text[1:], runs[0].styles, runs[0].url)
        if runs and place + 1 < len(found) and runs[-1].text.endswith("\n"):
            runs[-1] = Run(runs[-1].text[:-1], runs[-1].styles, runs[-1].url)
        runs = [run for run in runs if run.text]
        if runs:
            yield Block("text", tuple(runs))
