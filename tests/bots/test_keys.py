"""Keys of sessions: one for each user, chat and thread, and never one for two."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.bots import Update
from turnlog.bots.keys import Keys, encoded

IDS = st.text(st.characters(), max_size=8) | st.text("ab_.-%@/chatread", max_size=12) | st.text("é", min_size=100, max_size=130)


def update(user: str = "5", chat: str = "7", thread: str | None = None) -> Update:
    return Update(id="1", user_id=user, chat_id=chat, thread_id=thread)


def key(keys: Keys, **who: Any) -> str:
    return keys.owner(update(**who)).key


def test_keys_are_what_is_documented() -> None:
    assert key(Keys("telegram"), user="12345") == "bot_telegram_12345"
    assert key(Keys("telegram", scope="chat"), chat="-100") == "bot_telegram_chat_-100"
    assert key(Keys("telegram", scope="thread"), chat="-100", thread="3") == "bot_telegram_thread_-100_3"
    assert key(Keys("telegram", scope="thread"), chat="-100") == "bot_telegram_chat_-100"
    assert key(Keys("slack", "support"), user="U1") == "bot_slack.support_U1"


@given(st.lists(st.tuples(IDS, IDS, IDS | st.none()), min_size=2, max_size=6, unique=True))
def test_no_two_users_chats_or_threads_share_a_key(places: list[tuple[str, str, str | None]]) -> None:
    found: dict[str, set[Any]] = {}
    for user, chat, thread in places:
        found.setdefault(key(Keys("p"), user=user), set()).add(("user", user))
        found.setdefault(key(Keys("p", scope="chat"), chat=chat), set()).add(("chat", chat))
        whose = ("chat", chat) if thread is None else ("thread", chat, thread)
        found.setdefault(key(Keys("p", scope="thread"), chat=chat, thread=thread), set()).add(whose)
        found.setdefault(key(Keys("p", link=lambda platform, user: f"p{user}"), user=user), set()).add(("person", user))
        found.setdefault(key(Keys("p", "q"), user=user), set()).add(("named", user))
        found.setdefault(key(Keys("q"), user=user), set()).add(("elsewhere", user))
    assert all(len(whose) == 1 for whose in found.values()), found


def test_keys_that_look_alike_differ() -> None:
    users = ["chat_5", "chat5", "thread_5_6", "5", "5.desk", "5.desks", "@5", "", "a/b", "a_b", "A_B", "a%5Fb", "%%", "a" * 121, "a" * 122]
    made = [key(Keys("telegram"), user=user) for user in users]
    made += [key(Keys("telegram", scope="chat"), chat="5"), key(Keys("telegram", scope="thread"), chat="5", thread="6")]
    assert all(one != other for one, other in combinations(made, 2))
    assert all(len(each) < 400 for each in made)


@given(IDS, IDS)
def test_an_encoded_part_ends_nothing(one: str, other: str) -> None:
    assert not set(encoded(one)) & set("_.@")
    assert (encoded(one) == encoded(other)) == (one == other)


def test_a_person_on_two_platforms_is_one() -> None:
    people = {("telegram", "5"): "anna", ("slack", "U9"): "anna"}
    keys = {key(Keys(platform, link=people), user=user) for platform, user in people}
    assert keys == {"bot_@anna"}
    assert key(Keys("slack", link=people), user="5") == "bot_slack_5"


def test_a_name_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="name must not be empty"):
        Keys("p", name="")


def test_a_scope_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="scope must be user, chat, thread"):
        Keys("p", scope="channel")  # type: ignore[arg-type]
