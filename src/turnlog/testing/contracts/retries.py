"""Promise 3.3: retries are safe; a message id that is known with the same content is success, and stored once."""

from __future__ import annotations

from functools import partial

from turnlog.errors import ConflictError, SessionError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import named_turn, texts, turn

LONG = 130
"""Messages of a turn that an engine might be tempted to write in several goes."""

REMEMBERED = 1000
"""Messages after which every store must still know an id; JSON files promise 1,024, databases more."""


@case("3.3.1", "The same id with the same content is success, and stored once")
def same_again(trial: Trial) -> None:
    store = trial.store
    for _ in range(3):
        same(store.add_message("s", "user", "once", message_id="m1"), True, "add_message with a known id and the same content")
        same(store.add_messages("s", named_turn(0)), True, "add_messages with known ids and the same content")
    same(texts(store.get_chat_history("s")), ["once", *texts(turn("w", 0))], "the texts")
    same([message.id for message in store.get_messages("s")], ["m1", "turn-0-0", "turn-0-1", "turn-0-2"], "the ids")
    before = store.get_revision("s")
    store.add_messages("s", named_turn(0))
    same(store.get_revision("s"), before, "the revision after a retry that wrote nothing")


@case("3.3.2", "A retry is known after other messages came in between")
def later(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", named_turn(0))
    for number in range(1, 8):
        store.add_messages("s", named_turn(number))
    same(store.add_messages("s", named_turn(0)), True, "the retry of the first turn")
    same(store.add_message("s", "assistant", turn("w", 3)[1]["content"], message_id="turn-3-1"), True, "the retry of one message of a turn")
    same(len(store.get_chat_history("s")), 24, "the number of messages")


@case("3.3.3", "A retry succeeds whatever expect_revision says, for it is looked at first")
def before_revision(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", named_turn(0), expect_revision="")
    old = store.get_revision("s")
    store.add_messages("s", named_turn(1), expect_revision=old)
    same(store.add_messages("s", named_turn(1), expect_revision=old), True, "the retry with the revision of the first try")
    same(store.add_messages("s", named_turn(0), expect_revision=""), True, "the retry of the turn that created the session")
    same(len(store.get_chat_history("s")), 6, "the number of messages")


@case("3.3.4", "A known id with other content is ConflictError, and nothing changes")
def other_content(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "first", message_id="m1")
    before = store.get_revision("s")
    raises(ConflictError, lambda: store.add_message("s", "user", "second", message_id="m1"), "a known id with another text")
    raises(ConflictError, lambda: store.add_message("s", "assistant", "first", message_id="m1"), "a known id with another role")
    raises(ConflictError, lambda: store.add_messages("s", [{"role": "user", "content": None, "id": "m1"}]), "a known id with None")
    same(texts(store.get_chat_history("s")), ["first"], "the texts")
    same(store.get_revision("s"), before, "the revision")


@case("3.3.5", "A turn that is known in part is ConflictError, and nothing of it is stored")
def known_in_part(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", named_turn(0))
    for place in range(3):
        mixed = named_turn(1)
        mixed[place] = named_turn(0)[place]
        raises(ConflictError, lambda mixed=mixed: store.add_messages("s", mixed), f"a turn whose message {place} alone is known")  # type: ignore[misc]
    raises(ConflictError, lambda: store.add_messages("s", [*named_turn(0), *named_turn(2)]), "a known turn with a new one behind it")
    same(texts(store.get_chat_history("s")), texts(turn("w", 0)), "the texts")
    same(store.add_messages("s", named_turn(1)), True, "the new turn by itself")
    long = named_turn(3, LONG)
    store.add_message("s", "user", "taken", message_id=long[-1]["id"])
    raises(ConflictError, lambda: store.add_messages("s", long), f"a turn of {LONG} messages of which the last is known")
    same(len(store.get_chat_history("s")), 7, "the number of messages")


@case("3.3.6", "Ids of reverted messages count as known")
def after_revert(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", named_turn(0))
    store.add_messages("s", named_turn(1))
    store.revert_to_message("s", 2)
    same(store.add_messages("s", named_turn(1)), True, "the retry of a turn that was reverted")
    same(texts(store.get_chat_history("s")), texts(turn("w", 0)), "the texts: a late retry does not bring back what was reverted")
    raises(ConflictError, lambda: store.add_message("s", "user", "other", message_id="turn-1-0"), "a reverted id with other content")


@case("3.3.7", "Ids of cleared and deleted messages are unknown again")
def after_clear(trial: Trial) -> None:
    store = trial.store
    for end in (store.clear_session, store.delete_session):
        store.add_messages("s", named_turn(0))
        end("s")
        same(store.add_message("s", "user", "other", message_id="turn-0-0"), True, "add_message with an id that was erased")
        same(texts(store.get_chat_history("s")), ["other"], "the texts")
        store.delete_session("s")


@case("3.3.8", "The same id in two sessions names two messages")
def per_session(trial: Trial) -> None:
    store = trial.store
    for name in ("a", "b"):
        same(store.add_message(name, "user", f"in {name}", message_id="m1"), True, "add_message")
    for name in ("a", "b"):
        same(texts(store.get_chat_history(name)), [f"in {name}"], f"the texts of {name}")


@case("3.3.9", "One id twice in one turn never stores two messages of that id")
def twice_in_turn(trial: Trial) -> None:
    twins = [{"role": "user", "content": "a", "id": "m1"}, {"role": "user", "content": "b", "id": "m1"}]
    raises(SessionError, lambda: trial.store.add_messages("s", twins), "a turn with two messages of one id")
    same(trial.store.get_chat_history("s"), [], "the history after the refusal")


@case("3.3.10", "An id is remembered over many later messages", seconds=30)
def remembered(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", named_turn(0))
    later_messages = trial.many(300, REMEMBERED)
    for start in range(0, later_messages, 50):
        store.add_messages("s", [{"role": "user", "content": f"{start + i}"} for i in range(50)])
    same(store.add_messages("s", named_turn(0)), True, "the late retry")
    raises(ConflictError, lambda: store.add_message("s", "user", "other", message_id="turn-0-1"), "its id with other content")
    same(len(store.get_chat_history("s")), 3 + -(-later_messages // 50) * 50, "the number of messages")


@case("3.3.11", "Threads that send the same turn at once store it once")
def racing(trial: Trial) -> None:
    rounds = trial.many(12, 80)

    def send() -> None:
        for number in range(rounds):
            same(trial.store.add_messages("s", named_turn(number)), True, "add_messages, by whichever thread")

    trial.race(*(send for _ in range(4)))
    same(texts(trial.store.get_chat_history("s")), [text for n in range(rounds) for text in texts(turn("w", n))], "the texts")


@case("3.3.12", "A retry through another instance of the store is known", needs=["place"])
def other_instance(trial: Trial) -> None:
    trial.store.add_messages("s", named_turn(0))
    other = trial.open_again()
    same(other.add_messages("s", named_turn(0)), True, "the retry by another instance")
    other.add_messages("s", named_turn(1))
    same(trial.store.add_messages("s", named_turn(1)), True, "the retry by the first instance")
    raises(ConflictError, lambda: other.add_message("s", "user", "other", message_id="turn-0-0"), "a known id with other content")
    same(len(trial.store.get_chat_history("s")), 6, "the number of messages")


@case("3.3.13", "Every message gets an id of its own, and keeps it")
def own_ids(trial: Trial) -> None:
    store = trial.store
    trial.race(*(partial(store.add_messages, name, turn("w", i)) for i in range(4) for name in ("a", "b")))
    ids = [message.id for name in ("a", "b") for message in store.get_messages(name)]
    holds(all(isinstance(one, str) and one for one in ids), "a non-empty str as id of every message", ids)
    same(len(set(ids)), 24, "the number of different ids")
    again = [message.id for name in ("a", "b") for message in store.get_messages(name)]
    same(again, ids, "the ids, read again")
