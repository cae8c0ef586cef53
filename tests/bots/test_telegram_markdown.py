"""Markdown as Telegram's HTML: what is meant is shown, what is not is left as it was, and any text gives HTML that Telegram takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bots.telegram_html import BadHtml, parse, units
from turnlog.bots.markdown import LONGEST, fitting, plain, to_html

Entities = list[tuple[str, str, str]]

MEANT: list[tuple[str, str, Entities]] = [
    ("plain", "plain", []),
    ("**bold** and __so too__", "bold and so too", [("bold", "bold", ""), ("bold", "so too", "")]),
    ("*it* and _it_", "it and it", [("italic", "it", ""), ("italic", "it", "")]),
    ("***both***", "both", [("italic", "both", ""), ("bold", "both", "")]),
    ("~~gone~~", "gone", [("strikethrough", "gone", "")]),
    ("**bold with *it* in it**", "bold with it in it", [("italic", "it", ""), ("bold", "bold with it in it", "")]),
    ("你好**世界**吧", "你好世界吧", [("bold", "世界", "")]),
    ("`a < b && c`", "a < b && c", [("code", "a < b && c", "")]),
    ("`` a`b ``", "a`b", [("code", "a`b", "")]),
    ("`**not bold**`", "**not bold**", [("code", "**not bold**", "")]),
    ("# Title #\ntext", "Title\ntext", [("bold", "Title", "")]),
    ("## **Title** here", "Title here", [("bold", "Title here", "")]),
    ("- one\n* two\n  + three", "• one\n• two\n  • three", []),
    ("1. one\n2. two", "1. one\n2. two", []),
    ("> said\n> **so**\nnot", "said\nso\nnot", [("bold", "so", ""), ("blockquote", "said\nso", "")]),
    ("[Docs](https://x.y/a?b=1&c=2)", "Docs", [("text_link", "Docs", "https://x.y/a?b=1&c=2")]),
    ("[W](https://en.org/A_(b))", "W", [("text_link", "W", "https://en.org/A_(b)")]),
    ("![picture](https://x.y/p.png)", "picture", [("text_link", "picture", "https://x.y/p.png")]),
    (
        "```python\nif a < b:\n    pass\n```",
        "if a < b:\n    pass",
        [("code", "if a < b:\n    pass", "python"), ("pre", "if a < b:\n    pass", "")],
    ),
    ("~~~\n# no title\n~~~\nafter", "# no title\nafter", [("pre", "# no title", "")]),
    ("```\nnot closed **so**", "not closed **so**", [("pre", "not closed **so**", "")]),
    ("\\*literally\\*", "*literally*", []),
]
NOT_MEANT = [
    "2*3*4 and 2 * 3 * 4",
    "snake_case_name and __init__.py_",
    "a ** b ** c, x**2 + y**2",
    "<b>no</b> &amp; <script>",
    "*not closed, **neither",
    "[a](javascript:alert(1)) [b](file:///etc)",
    "[ ] todo, [x] done, a[0](1)",
    "~/path and ~5 and ~~~",
    "#hashtag #5",
    "5 > 3 < 4",
    "`not closed",
    "---",
    "C:\\dir\\new",
    "*",
    "***",
    "_",
    "****",
    "| a | b |\n|---|---|",
]


@pytest.mark.parametrize(("text", "shown", "entities"), MEANT, ids=[text[:20] for text, _, _ in MEANT])
def test_what_is_meant_is_shown(text: str, shown: str, entities: Entities) -> None:
    assert parse(to_html(text)) == (shown, entities)


@pytest.mark.parametrize("text", NOT_MEANT)
def test_what_is_not_meant_stays_as_it_is(text: str) -> None:
    assert parse(to_html(text)) == (text, [])


PIECES = [
    "*",
    "**",
    "_",
    "__",
    "***",
    "`",
    "``",
    "```",
    "\n",
    "\n\n",
    "~~",
    "[",
    "](",
    ")",
    "https://a.b",
    "<",
    ">",
    "&",
    "&lt;",
    '"',
    "\\",
    "# ",
    "> ",
]
PIECES += ["- ", " ", "a", "wörter", "😀", "世", "\t", "</b>", "<a href=x>", "```py\n", "~~~\n", "1. ", "|", "!", "\x00", "\u202e"]
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@settings(max_examples=600, deadline=None)
@given(MARKDOWN | st.text(max_size=80))
def test_any_text_gives_html_that_telegram_takes(text: str) -> None:
    html = to_html(plain(text))
    shown, entities = parse(html)
    assert len(shown) <= len(text)
    assert units(shown) <= units(plain(text))
    # Telegram bears nothing within code.
    assert not re.search(r"<(code|pre)[^>]*>[^<]*<(?!/|code)", html)
    assert all(url.startswith(("https://", "http://", "tg://", "mailto:")) for kind, _, url in entities if kind == "text_link")


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=200))
def test_text_without_marks_is_shown_exactly(text: str) -> None:
    text = re.sub(r"[*_~`\[\]()#>\-+\\]", "", text)
    assert parse(to_html(text)) == (text, [])


@pytest.mark.parametrize(
    "text", ["*_" * 2048, "**a" * 1365, "`" * 4096, "` `` " * 800, "[a](" * 1024, "> " * 2048, "# " * 2048, "\\" * 4096, "(" * 4096]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    import time

    begun = time.process_time()
    parse(to_html(text))
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("text", ["word " * 819, "😀" * 4096, "😀word " * 500, "x" * 4096, "```\n" + "😀\n" * 1500 + "```"])
def test_a_piece_fits_as_telegram_counts(text: str) -> None:
    pieces = fitting(text)
    assert all(0 < units(piece) <= LONGEST for piece in pieces)
    kept = re.sub(r"[\s`]", "", "".join(pieces))
    assert kept == re.sub(r"[\s`]", "", text)
    if units(text) <= LONGEST:
        assert pieces == [text]


@pytest.mark.parametrize("bad", ["<b>", "</b>", "<b></i>", "<x>y</x>", "<", "a < b", "<b <i>"])
def test_the_judge_refuses_what_telegram_refuses(bad: str) -> None:
    with pytest.raises(BadHtml):
        parse(bad)
