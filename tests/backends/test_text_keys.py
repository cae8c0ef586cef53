"""Keys of any text: nothing a database refuses, and order, prefixes and difference are those of the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnlog.backends.text_keys import after_prefix, from_key, to_key

EDGES = "\x00\x01\x02aA%_/ \n\x7f\x80é\ud7ff\ud800\udbff\udc00\udfff\ue000\ue001\uffff😀\U0010ffff"
texts = st.text(alphabet=st.one_of(st.sampled_from(EDGES), st.characters(exclude_categories=())), max_size=8)


@given(texts)
def test_a_key_is_text_that_any_database_takes(text: str) -> None:
    key = to_key(text)
    key.encode()
    assert "\x00" not in key
    assert from_key(key) == text


@given(texts, texts)
def test_order_and_difference_stay(one: str, other: str) -> None:
    assert (to_key(one) < to_key(other)) == (one < other)
    assert (to_key(one) == to_key(other)) == (one == other)


@given(texts, texts)
def test_prefixes_stay(one: str, other: str) -> None:
    assert to_key(one).startswith(to_key(other)) == one.startswith(other)
    assert to_key(one + other) == to_key(one) + to_key(other)


@given(texts, texts)
def test_the_keys_behind_a_prefix_are_one_range(text: str, prefix: str) -> None:
    key, low = to_key(text), to_key(prefix)
    above = after_prefix(low)
    assert (low <= key and (above is None or key < above)) == text.startswith(prefix)
    if above is not None:
        above.encode()


def test_plain_text_is_its_own_key() -> None:
    for text in ("chat-123", "bot_telegram_12345", "Grüße 😀", "a/b", ""):
        assert to_key(text) == text
