"""Answers in Discord's and Slack's own form: what was meant is shown, what was not is text, and nothing is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bots.loopback import Refusal
from tests.bots.slack_api import _seen
from turnlog.bots.discord.markdown import LONGEST, to_discord
from turnlog.bots.marked import Block, Run, blocks_of
from turnlog.bots.slack.markdown import to_plain, to_slack

PIECES = st.sampled_from(
    ["*", "**", "_", "__", "~~", "`", "```", "\n", "\n\n", "# ", "- ", "> ", "||", "<@1>", "<!channel>", "[a](https://b.c)"]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join)

AS_DISCORD = [
    ("**bold** *it* ~~gone~~ `a*b`", "**bold** *it* ~~gone~~ `a*b`"),
    ("**bold *both* bold**", "**bold *both* bold**"),
    ("__bold words__, not underlined", "**bold words**, not underlined"),
    ("__init__ and snake_case", r"\_\_init\_\_ and snake_case"),
    ("2*3*4, a || b || c", r"2\*3\*4, a \|\| b \|\| c"),
    ("<@123> <#5> <:smile:7> <t:1> a<b @everyone", r"\<@123> \<#5> \<:smile:7> \<t:1> a<b @everyone"),
    ("## Heading\ntext", "**Heading**\ntext"),
    ("- one\n  * two", "• one\n  • two"),
    (r"\# none" + "\n-# none\n\\- none", "\\# none\n\\-# none\n\\- none"),
    ("> a\n> b\n\nc", "> a\n> b\n\nc"),
    ("```py\nx = '*'\n```\nend", "```py\nx = '*'\n```\nend"),
    ("````\n```\n````", "```\n`\u200b``\n```"),
    ("```\nopen", "```\nopen\n```"),
    ("[here](https://a.b/c_d_) and https://x.y/a_b_c_", "[here](https://a.b/c_d_) and https://x.y/a_b_c_"),
    (r"C:\dir \* [no](link)", r"C:\dir \* \[no](link)"),
]


@pytest.mark.parametrize(("text", "shown"), AS_DISCORD)
def test_as_discord(text: str, shown: str) -> None:
    assert to_discord(text) == shown


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_as_discord(text: str) -> None:
    formed = to_discord(text)
    assert len(formed) <= LONGEST
    formed.encode()
    if "`" not in text:
        # Nothing is left of a mention but its text.
        assert not re.search(r"(?<!\\)<@1>", formed)
    # Every letter and digit is there, in order.
    assert [each for each in formed if each.isalnum()] == [each for each in _readable(text) if each.isalnum()]


def test_what_would_be_too_long_goes_as_it_was_written() -> None:
    text = "*" * 1900
    assert to_discord(text) == text


def test_as_slack() -> None:
    told = to_slack("# Head\n**b** *i* `c` ~~s~~ [l](https://a.b) https://x.y/z_.\n- one\n> quoted\n```py\nx < 1\n```\n<!channel> & more")
    text, looks = _seen(told)
    assert text == "Head\nb i c s l https://x.y/z_.\n• one\nquoted\nx < 1\n<!channel> & more"
    assert looks == [
        ("Head", "bold"),
        *[
            ("b", "bold"),
            ("i", "italic"),
            ("c", "code"),
            ("s", "strike"),
            ("l", "link https://a.b"),
            ("https://x.y/z_", "link https://x.y/z_"),
        ],
        ("quoted", "quote"),
        ("x < 1", "preformatted"),
    ]
    assert "&lt;!channel&gt; &amp; more" in told["text"]


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_as_slack(text: str) -> None:
    for told in (to_slack(text), to_plain(text)):
        shown = _taken(told)
        assert shown is not None or not text.strip()


def test_blocks_have_the_words_and_no_marks() -> None:
    assert blocks_of("a **b**\n```\nc\n```\nd") == [
        Block("text", (Run("a "), Run("b", ("bold",)))),
        Block("code", (Run("c"),)),
        Block("text", (Run("d"),)),
    ]
    assert blocks_of("") == []


def _taken(told: dict[str, Any]) -> str | None:
    """What is shown of a message; None where Slack would not take it."""
    try:
        return _seen(told)[0]
    except Refusal as refusal:
        assert refusal.body["error"] == "no_text"
        return None


def _readable(text: str) -> str:
    """The text, or, where addresses of links and languages of code blocks are shown too, what is shown."""
    return "".join(f"{run.text}{run.url if run.url and run.url != run.text else ''}" if run.url else run.text for run in _runs(text))


def _runs(text: str) -> list[Run]:
    runs: list[Run] = []
    for block in blocks_of(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")):
        runs += [Run(block.language), *block.runs]
    return runs
