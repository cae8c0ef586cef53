"""Long answers in pieces: whole words, in order, none too long, and no code block left open."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.bots.splitting import LEAST, open_fence, split

WORDS = st.text("abcé💬.,", min_size=1, max_size=12)
PIECES = st.sampled_from(["\n", "\n\n", " ", ". ", "```\n", "\n```python\n", "\n~~~\n", "\n````\n", "x" * 70, "\t"]) | WORDS
TEXTS = st.lists(PIECES, max_size=60).map("".join)


def bare(text: str) -> str:
    """What is said, without the marks of code blocks and without blanks."""
    return "".join(re.sub(r"^ {0,3}(`{3,}|~{3,})[^\n]*$", "", text, flags=re.MULTILINE).split())


@given(TEXTS, st.integers(LEAST, 120))
def test_no_piece_is_empty_or_too_long(text: str, longest: int) -> None:
    pieces = split(text, longest)
    assert all(piece.strip() and len(piece) <= longest for piece in pieces)
    assert bool(pieces) == bool(text.strip())


@given(st.lists(PIECES.filter(lambda piece: "`" not in piece and "~" not in piece), max_size=60).map("".join), st.integers(LEAST, 120))
def test_nothing_is_lost_and_nothing_comes_twice(text: str, longest: int) -> None:
    assert "".join("".join(split(text, longest)).split()) == "".join(text.split())


@given(st.lists(WORDS, min_size=1, max_size=50), st.integers(LEAST, 120))
def test_words_stay_whole(words: list[str], longest: int) -> None:
    found = " ".join(split(" ".join(words), longest)).split()
    assert found == words


@given(st.lists(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=30), st.integers(80, 200))
def test_code_blocks_are_closed_and_opened_again(lines: list[str], longest: int) -> None:
    text = "Before.\n\n```python\n" + "\n".join(lines) + "\n```\n\nAfter."
    pieces = split(text, longest)
    assert all(open_fence(piece) is None for piece in pieces)
    assert bare("\n".join(pieces)) == bare(text)
    code = [line for piece in pieces for line in re.findall(r"```python\n(.*?)\n```", piece, re.DOTALL)]
    assert "\n".join(code).split("\n") == lines


@given(TEXTS, TEXTS, st.integers(LEAST, 120))
def test_the_pieces_of_a_text_that_grows_stay_what_they_were(text: str, more: str, longest: int) -> None:
    first = split(text, longest)
    if len(first) > 1:
        assert split(text + more, longest)[0] == first[0]


def test_where_a_text_is_cut() -> None:
    assert split("One paragraph.\n\nAnother one, longer.", 30) == ["One paragraph.", "Another one, longer."]
    assert split("a first line\nand a second line", 24) == ["a first line", "and a second line"]
    assert split("One sentence. Another sentence here.", 24) == ["One sentence.", "Another sentence here."]
    assert split("several words without a stop", 20) == ["several words", "without a stop"]
    assert split("x" * 50, 20) == ["x" * 20, "x" * 20, "x" * 10]
    assert split("", 20) == split(" \n ", 20) == []
    assert split("fits", 20) == ["fits"]


def test_a_piece_must_have_room_for_marks() -> None:
    with pytest.raises(ValueError, match="16 characters or more"):
        split("text", 8)


def test_a_megabyte_is_split_at_once() -> None:
    pieces = split("```\n" + "some code here\n" * 70_000 + "```", 4096)
    assert 200 < len(pieces) < 400
    assert all(open_fence(piece) is None for piece in pieces)
