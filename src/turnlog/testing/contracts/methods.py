"""Cases 1.1 to 1.19: the five methods, as every store must have them."""

from __future__ import annotations

from turnlog.protocols import FIVE_METHODS, AsyncSessionStoreProtocol, SessionStoreProtocol
from turnlog.testing.checks import Mismatch, holds, same
from turnlog.testing.faces import declared_async, returned_async
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial


def said(*texts: str) -> list[dict[str, str]]:
    """A history of user texts."""
    return [{"role": "user", "content": text} for text in texts]


@case("1.1", "The five methods are there", five=True)
def five_methods(trial: Trial) -> None:
    missing = [name for name in FIVE_METHODS if not callable(getattr(trial.raw, name, None))]
    holds(not missing, f"the methods {', '.join(FIVE_METHODS)}", f"missing: {missing}")


@case("1.2", "The five methods are all sync or all coroutines, as they are declared", five=True)
def one_kind(trial: Trial) -> None:
    declared, returned = declared_async(trial.raw), returned_async(trial.raw, trial.loop)
    kinds = [f"{name}: {'async' if d else 'sync'}" for name, d in zip(FIVE_METHODS, declared, strict=True)]
    holds(len(set(declared)) == 1, "five sync methods or five coroutine methods", ", ".join(kinds))
    for name, by_declaration, by_call in zip(FIVE_METHODS, declared, returned, strict=True):
        if by_declaration != by_call:
            wanted = "gives a coroutine, as its declaration says" if by_declaration else "gives its answer, as it is not declared async def"
            raise Mismatch(f"{name} {wanted}", "it gives its answer at once" if by_declaration else "it gives something to await")


@case("1.3", "isinstance tells it for what it is: a sync store or an async one", five=True)
def protocols(trial: Trial) -> None:
    sync, asynchronous = isinstance(trial.raw, SessionStoreProtocol), isinstance(trial.raw, AsyncSessionStoreProtocol)
    seen = f"SessionStoreProtocol: {sync}, AsyncSessionStoreProtocol: {asynchronous}"
    wanted = "an AsyncSessionStoreProtocol only" if trial.subject.asynchronous else "a SessionStoreProtocol only"
    holds((sync, asynchronous) == (not trial.subject.asynchronous, bool(trial.subject.asynchronous)), wanted, seen)


@case("1.4", "add_message returns True, and the message is in the history", five=True)
def adds(trial: Trial) -> None:
    same(trial.store.add_message("s", "user", "Hello"), True, "add_message")
    same(trial.store.get_chat_history("s"), said("Hello"), "the history of one text, with the keys role and content and no more")


@case("1.5", "A session that was never written to has no messages and does not exist, also after it was read", five=True)
def unknown(trial: Trial) -> None:
    for _ in range(2):
        same(trial.store.get_chat_history("nobody"), [], "the history of an unknown session")
        same(trial.store.get_chat_history("nobody", 5), [], "the last messages of an unknown session")
        same(trial.store.session_exists("nobody"), False, "session_exists of an unknown session")


@case("1.6", "A session exists from its first message on", five=True)
def exists(trial: Trial) -> None:
    trial.store.add_message("s", "user", "Hello")
    same(trial.store.session_exists("s"), True, "session_exists")
    same(trial.store.session_exists("other"), False, "session_exists of another session")


@case("1.7", "max_messages gives that many of the newest, for every number; None and 0 give all", five=True)
def newest(trial: Trial) -> None:
    texts = [f"text {i}" for i in range(12)]
    for text in texts:
        trial.store.add_message("s", "user", text)
    for count in [*range(1, 14), 100, 10**9]:
        same(trial.store.get_chat_history("s", count), said(*texts[-count:]), f"get_chat_history('s', {count})")
    for everything in (None, 0):
        same(trial.store.get_chat_history("s", everything), said(*texts), f"get_chat_history('s', {everything})")
    same(trial.store.get_chat_history("s", max_messages=3), said(*texts[-3:]), "max_messages given by name")


@case("1.8", "clear_session removes the messages and keeps the session", five=True)
def clears(trial: Trial) -> None:
    trial.store.add_message("s", "user", "old")
    same(trial.store.clear_session("s"), True, "clear_session")
    same(trial.store.get_chat_history("s"), [], "the history after clear_session")
    same(trial.store.session_exists("s"), True, "session_exists after clear_session")
    trial.store.add_message("s", "user", "new")
    same(trial.store.get_chat_history("s"), said("new"), "the history after clear_session and one message")


@case("1.9", "delete_session removes the session, and one of the same id begins empty", five=True)
def deletes(trial: Trial) -> None:
    trial.store.add_message("s", "user", "old")
    same(trial.store.delete_session("s"), True, "delete_session")
    same(trial.store.session_exists("s"), False, "session_exists after delete_session")
    same(trial.store.get_chat_history("s"), [], "the history after delete_session")
    trial.store.add_message("s", "user", "new")
    same(trial.store.get_chat_history("s"), said("new"), "the history of the session of the same id")


@case("1.10", "Clearing or deleting what is not there is success", five=True)
def idempotent(trial: Trial) -> None:
    same(trial.store.clear_session("nobody"), True, "clear_session of an unknown session")
    same(trial.store.delete_session("nobody"), True, "delete_session of an unknown session")
    trial.store.add_message("s", "user", "x")
    for _ in range(2):
        same(trial.store.clear_session("s"), True, "clear_session, also twice")
    for _ in range(2):
        same(trial.store.delete_session("s"), True, "delete_session, also twice")


@case("1.11", "metadata is taken by place and by name, and does not show in the history", five=True)
def metadata(trial: Trial) -> None:
    same(trial.store.add_message("s", "user", "one", {"channel": "web", "id": "x", "n": [1]}), True, "add_message with metadata by place")
    same(trial.store.add_message(session_id="s", role="assistant", content="two", metadata={"role": "x"}), True, "all by name")
    same(trial.store.add_message("s", "user", "three", None), True, "add_message with metadata None")
    wanted = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]
    same(trial.store.get_chat_history(session_id="s", max_messages=None), wanted, "the history")


@case("1.12", "The list that get_chat_history gives is the caller's", five=True)
def own_list(trial: Trial) -> None:
    trial.store.add_message("s", "user", "one")
    history = trial.store.get_chat_history("s")
    history.append({"role": "user", "content": "not stored"})
    trial.store.get_chat_history("s", 1).clear()
    trial.store.get_chat_history("nobody").append({"role": "user", "content": "not stored"})
    same(trial.store.get_chat_history("s"), said("one"), "the history after the caller changed a list it had been given")
    same(trial.store.get_chat_history("nobody"), [], "the history of an unknown session, likewise")


@case("1.13", "Roles come back as they went in", five=True)
def roles(trial: Trial) -> None:
    wanted = [{"role": role, "content": f"by {role}"} for role in ("system", "user", "assistant", "developer", "user", "user")]
    for message in wanted:
        trial.store.add_message("s", message["role"], message["content"])
    same(trial.store.get_chat_history("s"), wanted, "the history")


@case("1.14", "Sessions are separate: writing, clearing and deleting one never touches another", five=True)
def separate(trial: Trial) -> None:
    names = [f"session-{i}" for i in range(trial.many(12, 60))]
    texts: dict[str, list[str]] = {name: [] for name in names}
    for number in range(len(names) * 5):
        name = trial.random.choice(names)
        action = trial.random.random()
        if action < 0.08:
            trial.store.clear_session(name)
            texts[name] = []
        elif action < 0.16:
            trial.store.delete_session(name)
            texts[name] = []
        else:
            trial.store.add_message(name, "user", f"{name} {number}")
            texts[name].append(f"{name} {number}")
    for name in names:
        same(trial.store.get_chat_history(name), said(*texts[name]), f"the history of {name}")


@case("1.15", "The factory gives a fresh, empty store at every call", five=True)
def fresh(trial: Trial) -> None:
    trial.store.add_message("left over", "user", "from the first store")
    other = trial.another()
    seen = other.get_chat_history("left over")
    holds(not seen, "an empty store from every call of the factory (with its place as argument, if it takes one)", seen)


@case("1.16", "The same text twice is two messages", five=True)
def twice(trial: Trial) -> None:
    for _ in range(3):
        trial.store.add_message("s", "user", "again")
    same(trial.store.get_chat_history("s"), said("again", "again", "again"), "the history of one text said three times")
