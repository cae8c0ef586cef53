"""A random history of sessions, played to two stores, one with an index of words and one without: they must find the same, in one order.

For any two stores, such as one of a database: ``agree(InMemorySessionStore(), PostgresSessionStore(url, schema="t", search=True), seed)``.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from turnlog.errors import NothingToUndoError
from turnlog.session import SessionStore

WORDS = [f"w{number}" for number in range(30)] + ["Straße", "naïve", "NAÏVE", "İstanbul", "e-mail", "a_b", "x" * 70, "😀", "日本", "7"]
QUERIES = ["w1", "w1 w2", "W3 w4 w5", "strasse", "naïve w6", "e mail", "mail e", "stanbul", "x" * 80, "日本 7", "a b", "none", "w1 w1", "-"]


def play(stores: tuple[SessionStore, SessionStore], chance: random.Random, steps: int) -> None:
    """Do the same at random to both."""
    names = [f"s{number}" for number in range(10)]

    def both(verb: str, *args: Any, **options: Any) -> None:
        for store in stores:
            with suppress(NothingToUndoError):
                getattr(store, verb)(*args, **options)

    for _ in range(steps):
        step = f"{chance.getrandbits(48):012x}"
        name = chance.choice(names)
        count = len(stores[0].get_messages(name))
        contents: list[Any] = [" ".join(chance.choices(WORDS, k=chance.randrange(8))) for _ in range(chance.randrange(1, 4))]
        if chance.random() < 0.2:
            contents[0] = [{"type": "text", "text": contents[0]}, "w1", {"type": "image"}]
        messages = [{"role": "user", "content": content, "id": f"{step}-{at}"} for at, content in enumerate(contents)]
        match chance.choice(["add"] * 6 + ["fork"] * 3 + ["revert", "revert", "undo", "clear", "delete", "replace"]) if count else "add":
            case "add":
                both("add_messages", name, messages)
            case "fork":
                both("fork_session", name, chance.randrange(count), new_session_id=f"f{step}")
                names.append(f"f{step}")
            case "revert":
                both("revert_to_message", name, chance.randrange(count))
            case "undo":
                both("undo_revert", name)
            case "clear":
                both("clear_session", name)
            case "delete":
                both("delete_session", name)
            case _:
                both("set_chat_history", name, messages)


def hits(store: SessionStore, query: str, limit: int) -> list[Any]:
    """All that search says, but for times."""
    return [{**hit.as_dict(), "when": None, "messages": _untimed(hit.messages)} for hit in store.search(query, limit=limit, window=2)]


def _untimed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**message, "timestamp": None} for message in messages]


def agree(scanning: SessionStore, indexing: SessionStore, seed: int, *, rounds: int = 4, steps: int = 40) -> None:
    """Play to both, and compare what they find; AssertionError where they differ."""
    chance = random.Random(seed)
    for _ in range(rounds):
        play((scanning, indexing), chance, steps)
        for query in QUERIES:
            for limit in (1, 3, 100):
                assert hits(indexing, query, limit) == hits(scanning, query, limit), (query, limit)
