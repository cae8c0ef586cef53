"""Cases 2.90 to 2.99: search: one rule for scores and order, whatever the engine; what is shown and what is not; races."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from turnlog.errors import NothingToUndoError
from turnlog.testing.ageing import age
from turnlog.testing.checks import holds, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import turn

WORDS = ("red", "green", "blue", "Red", "reds", "grün", "Straße", "7", "blue-green", "re", "d")
QUERIES = ("red", "RED GREEN", "green red", "blue", "strasse", "re", "blue green 7", "GRÜN red", "reds green blue 7", "nowhere")
SEARCHED = 256 * 1024
"""Characters of a message that are looked at."""


def said(*contents: Any) -> list[dict[str, Any]]:
    """Messages of a user."""
    return [{"role": "user", "content": content} for content in contents]


def hits_of(store: Any, query: str, limit: int = 100) -> list[tuple[str, float, int]]:
    """What search gives: session, score, index."""
    return [(hit.session_id, float(hit.score), hit.anchor_index) for hit in store.search(query, limit=limit, window=1)]


def spelled(text: str) -> list[str]:
    """The words of a text, by the rule of the documentation, written down once more."""
    return re.findall(r"[^\W_]+", text[:SEARCHED].casefold())


def expected(store: Any, query: str) -> list[tuple[str, float, int]]:
    """What search must give, from what the store shows of every session."""
    phrase = spelled(query)
    found = []
    for line in store.iter_sessions():
        best: tuple[float, int] | None = None
        for index, message in enumerate(store.get_messages(line.session_id)):
            words = spelled(message.content)
            whole = any(words[at : at + len(phrase)] == phrase for at in range(len(words)))
            score = len(set(phrase) & set(words)) + (2.0 if whole else 0.0)
            if score and (best is None or score >= best[0]):
                best = (score, index)
        if best is not None:
            found.append((line.session_id, *best, line.updated_at))
    # Sorts are stable: by id, then by the last change, newest first, then by score.
    found.sort(key=lambda hit: hit[0])
    found.sort(key=lambda hit: hit[3], reverse=True)
    found.sort(key=lambda hit: hit[1], reverse=True)
    return [(name, score, index) for name, score, index, _ in found]


@case("2.90", "A message scores 1 for each whole word and 2 for the phrase; the best message counts, then the last change, then the id")
def scores(trial: Trial) -> None:
    store = trial.store
    store.add_messages("twice", said("one night", "filler", "a night", "trains and nights"))
    store.add_messages("both", said("the train of the night", "night"))
    store.add_messages("phrase", said("filler", "The NIGHT-train!", "more"))
    store.add_messages("none", said("nightly trained knights", "ni ght"))
    store.add_messages("parts", said([{"type": "text", "text": "Night"}, {"type": "text", "text": "train"}], "end"))
    store.add_messages("repeated", said("night night night night"))
    wanted = [("parts", 4.0, 0), ("phrase", 4.0, 1), ("both", 2.0, 0), ("repeated", 1.0, 0), ("twice", 1.0, 2)]
    same(hits_of(store, "Night train"), wanted, "sessions, scores and indexes")
    for limit in range(1, 6):
        same(hits_of(store, "Night train", limit), wanted[:limit], f"the same with limit={limit}")
    store.add_message("twice", "user", "last")
    same([name for name, _, _ in hits_of(store, "night")], ["twice", "repeated", "parts", "phrase", "both"], "the order after a change")
    hit = store.search("night train", window=1)[1]
    same([(line["index"], line["content"]) for line in hit.messages], list(enumerate(["filler", "The NIGHT-train!", "more"])), "the window")
    holds("NIGHT-train" in hit.snippet, "a snippet with the phrase", hit.snippet)
    long = "x " * (SEARCHED // 2 - 10) + "inside " + "y " * 40 + "beyond"
    store.add_message("long", "user", long)
    same(hits_of(store, "inside"), [("long", 3.0, 0)], "a word within the first 262,144 characters")
    same(hits_of(store, "beyond"), [], "a word beyond them")
    holds("inside" in store.search("inside")[0].snippet, "a snippet with the word")


@case("2.91", "search shows what the history shows: forks, what undo brings back; nothing reverted, cleared, deleted, replaced or expired")
def shows(trial: Trial) -> None:
    store = trial.store

    def found(word: str = "zebra") -> list[tuple[str, int]]:
        return sorted((name, index) for name, _, index in hits_of(store, word))

    store.add_messages("s", said("zero", "a zebra", "two", "a yak"))
    same(found(), [("s", 1)], "where the word is")
    store.fork_session("s", new_session_id="fork")
    store.fork_session("fork", 1, new_session_id="fork of fork")
    store.fork_session("s", 0, new_session_id="before")
    same(found(), [("fork", 1), ("fork of fork", 1), ("s", 1)], "the word with forks")
    same(found("yak"), [("fork", 3), ("s", 3)], "a word that not all forks have")
    store.revert_to_message("s", 0)
    same(found(), [("fork", 1), ("fork of fork", 1)], "after a revert")
    store.add_messages("s", said("new", "a zebra again"))
    same(found(), [("fork", 1), ("fork of fork", 1), ("s", 2)], "after a revert and new messages")
    store.undo_revert("s")
    same(found(), [("fork", 1), ("fork of fork", 1), ("s", 1)], "after the revert was undone")
    store.delete_session("fork")
    same(found(), [("fork of fork", 1), ("s", 1)], "after a fork with forks was deleted")
    store.clear_session("s")
    same((found(), found("yak")), ([("fork of fork", 1)], []), "after a clear")
    store.set_chat_history("s", said("a zebra"))
    same(found(), [("fork of fork", 1), ("s", 0)], "after the history was replaced")
    store.delete_session("s")
    store.add_message("s", "user", "another life")
    same(found(), [("fork of fork", 1)], "after delete and a new life")
    store.set_session_ttl("fork of fork", 3600.0)
    same(found(), [("fork of fork", 1)], "with a ttl")
    age(trial, "fork of fork", 3600.0)
    same(found(), [], "after it expired")
    store.sweep(compact=True)
    same((found(), found("life")), ([], [("s", 0)]), "after the sweep")


@case("2.92", "In random sessions with forks, reverts, clears and deletes, search gives what the rule gives, in its order", seconds=40.0)
def as_the_rule(trial: Trial) -> None:
    store, chance = trial.store, trial.random
    names = [f"s{number}" for number in range(8)]
    for step in range(trial.many(70, 400)):
        name = chance.choice(names)
        count = len(store.get_messages(name))
        what = chance.choice(["add"] * 5 + ["fork"] * 2 + ["revert", "undo", "clear", "delete", "replace", "snapshot"])
        texts = [" ".join(chance.choices(WORDS, k=chance.randrange(1, 6))) for _ in range(chance.randrange(1, 4))]
        if what == "add" or not count:
            store.add_messages(name, said(*texts))
        elif what == "fork":
            child = f"f{step}"
            store.fork_session(name, chance.randrange(count), new_session_id=child)
            names.append(child)
        elif what == "revert":
            store.revert_to_message(name, chance.randrange(count))
            if chance.random() < 0.5:
                with suppress(NothingToUndoError):
                    store.undo_revert(name)
        elif what == "clear":
            store.clear_session(name)
        elif what == "delete":
            store.delete_session(name)
        elif what == "replace":
            store.set_chat_history(name, said(*texts))
        if step % 10 == 9:
            query = chance.choice(QUERIES)
            same(hits_of(store, query), expected(store, query), f"what search gives for {query!r} after {step + 1} steps")
    for query in QUERIES:
        wanted = expected(store, query)
        same(hits_of(store, query), wanted, f"what search gives for {query!r}")
        for limit in (1, 3):
            same(hits_of(store, query, limit), wanted[:limit], f"what it gives with limit={limit}")
    if trial.subject.takes_place:
        again = trial.open_again()
        same([hits_of(again, query) for query in QUERIES], [expected(store, query) for query in QUERIES], "what another instance gives")


@case("2.93", "Where very many messages hold a word, the best are still found, in the right order")
def many(trial: Trial) -> None:
    store = trial.store
    for number in range(trial.many(12, 40)):
        store.add_messages(f"s{number}", said(*(f"common filler {index}" for index in range(60))))
    store.add_messages("best", said("common rare"))
    store.add_messages("good", said("rare then common"))
    for number in range(3):
        store.add_messages(f"late{number}", said(*["common"] * 100))
    for query in ("common", "common rare", "rare", "filler 59"):
        wanted = expected(store, query)
        for limit in (1, 2, 5, 100):
            same(hits_of(store, query, limit), wanted[:limit], f"what search gives for {query!r} with limit={limit}")


@case("2.94", "Threads that add, clear and search: what was acknowledged before a search began is found, what was cleared before is not")
def races(trial: Trial) -> None:
    store = trial.store
    for number in range(trial.many(4, 30)):
        store.add_messages("cleared", [*turn("w", 0), *said(f"gone{number}")])
        store.clear_session("cleared")

        def add(word: str, number: int = number) -> bool:
            for index in range(5):
                store.add_message(f"{word}{number}", "user", f"{word} w{index}")
                seen = [hit.session_id for hit in store.search(f"{word} w{index}", limit=3)]
                if f"{word}{number}" not in seen:
                    return False
            return True

        def cleared(number: int = number) -> bool:
            return not store.search(f"gone{number}")

        adders: list[Callable[[], Any]] = [partial(add, word) for word in ("ant", "bee", "cow")]
        same(trial.race(*adders, cleared), [True] * 4, "whether each search saw what it had to see")
