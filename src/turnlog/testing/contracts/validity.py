"""Promise 3.6: what the model gets is always valid: no result without its call, no call without its results, for every cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnlog.testing import histories
from turnlog.testing.checks import Mismatch, holds, same
from turnlog.testing.histories import CURATED, Block, group, random_history, stored, text, window
from turnlog.testing.registry import case
from turnlog.testing.strict import problems
from turnlog.testing.trial import Trial


def check_valid(messages: list[dict[str, Any]], what: str) -> None:
    """Fail with what the strict judge says."""
    if found := problems(messages):
        raise Mismatch(f"{what}: messages that the OpenAI and Anthropic APIs accept", "; ".join(found[:3]))


def check_cuts(store: Any, session_id: str, blocks: Sequence[Block], what: str) -> None:
    """Every cut of the session is valid, and is exactly the right one."""
    size = len(stored(blocks))
    for count in (None, 0, *range(1, size + 2)):
        seen = store.get_chat_history(session_id, count)
        check_valid(seen, f"{what}, max_messages={count}")
        same(seen, window(blocks, count), f"{what}, max_messages={count}")


@case("3.6.1", "Named histories with tool calls: every cut is valid, and no shorter than it must be")
def curated(trial: Trial) -> None:
    for name, blocks in CURATED.items():
        trial.store.add_messages(name, stored(blocks))
        check_cuts(trial.store, name, blocks, name)


@case("3.6.2", "Random histories with parallel, repeated, failed and interrupted tool calls: every cut is valid", seconds=40)
def generated(trial: Trial) -> None:
    for number in range(trial.many(25, 400)):
        blocks = random_history(trial.random, trial.random.randrange(4, 24))
        trial.store.add_messages(f"h{number}", stored(blocks))
        check_cuts(trial.store, f"h{number}", blocks, f"random history {number}")


@case("3.6.3", "Parallel calls stay together: a window has all of them or none")
def parallel(trial: Trial) -> None:
    blocks = [text("user", "go"), group("a", "b", "c", "d"), text("assistant", "done")]
    trial.store.add_messages("s", stored(blocks))
    for count in range(1, 8):
        seen = trial.store.get_chat_history("s", count)
        tools = [message for message in seen if message["role"] == "tool"]
        holds(len(tools) in (0, 4), f"0 or 4 results for max_messages={count}", f"{len(tools)} results")
        same(len(seen), {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 6, 7: 7}[count], f"the number of messages for max_messages={count}")


@case("3.6.4", "An unfinished turn is hidden from the model until its results are there, and never from get_messages")
def unfinished(trial: Trial) -> None:
    store = trial.store
    whole = [text("user", "go"), group("a", "b"), text("assistant", "done")]
    for position, message in enumerate(stored(whole), 1):
        store.add_messages("s", [message])
        check_valid(store.get_chat_history("s"), f"after {position} of 5 messages")
        same(len(store.get_messages("s")), position, "the number of messages that get_messages gives")
        same(len(store.get_session("s").messages), position, "the number of messages that get_session gives")
        wanted = 1 if position < 4 else position
        same(len(store.get_chat_history("s")), wanted, f"the number of messages that the model gets after {position} of 5")


@case("3.6.5", "Tool calls given to add_message by name make the same history")
def by_name(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "go")
    store.add_message("s", "assistant", "", tool_calls=[histories.call("a"), histories.call("b")])
    same(len(store.get_chat_history("s")), 1, "the number of messages while the calls have no results")
    store.add_message("s", "tool", "one", tool_call_id="a")
    store.add_message("s", "tool", "two", tool_call_id="b")
    wanted = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [histories.call("a"), histories.call("b")]},
        {"role": "tool", "content": "one", "tool_call_id": "a"},
        {"role": "tool", "content": "two", "tool_call_id": "b"},
    ]
    same(store.get_chat_history("s"), wanted, "the history")


@case("3.6.6", "A revert into the middle of a tool group leaves a valid history")
def reverted(trial: Trial) -> None:
    blocks = [text("user", "go"), group("a", "b"), text("assistant", "done"), text("user", "more")]
    messages = stored(blocks)
    for index in range(len(messages)):
        name = f"s{index}"
        trial.store.add_messages(name, messages)
        trial.store.revert_to_message(name, index)
        left = trial.store.get_chat_history(name)
        check_valid(left, f"after revert_to_message {index}")
        same(len(left), {0: 1, 1: 1, 2: 1, 3: 4, 4: 5, 5: 6}[index], f"the number of messages after revert_to_message {index}")
        trial.store.add_messages(name, [{"role": "user", "content": "on"}])
        check_valid(trial.store.get_chat_history(name), f"after revert_to_message {index} and a further message")


@case("3.6.7", "A fork in the middle of a tool group has a valid history")
def forked(trial: Trial) -> None:
    messages = stored([text("user", "go"), group("a", "b"), text("assistant", "done")])
    trial.store.add_messages("s", messages)
    for index in range(len(messages)):
        child = trial.store.fork_session("s", index)
        check_valid(trial.store.get_chat_history(child), f"the fork at {index}")
        same(len(trial.store.get_messages(child)), index + 1, f"the number of messages of the fork at {index}")
        trial.store.add_message(child, "user", "on")
        for count in range(1, 6):
            check_valid(trial.store.get_chat_history(child, count), f"the fork at {index}, max_messages={count}")


@case("3.6.8", "max_tokens: the window costs at most that, is valid, and no shorter than it must be")
def tokens(trial: Trial) -> None:
    def cost(message: dict[str, Any]) -> int:
        return 10 + len(str(message.get("content") or ""))

    for number in range(trial.many(6, 60)):
        blocks = [block for block in random_history(trial.random, 16) if block.valid]
        trial.store.add_messages(f"s{number}", stored(blocks))
        total = sum(cost(message) for message in stored(blocks))
        for budget in (1, 15, 40, total // 3, total - 1, total, total * 2):
            seen = trial.store.get_chat_history(f"s{number}", max_tokens=budget, count_tokens=cost)
            same(seen, _affordable(blocks, budget, cost), f"the window of {budget} tokens of {total}")
            check_valid(seen, f"the window of {budget} tokens")


def _affordable(blocks: Sequence[Block], budget: int, cost: Any) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for block in reversed(blocks):
        budget -= sum(cost(message) for message in block.messages)
        if budget < 0:
            break
        kept = [*block.messages, *kept]
    return kept


@case("3.6.9", "Cuts are right across the joints of a history: after reverts, in forks of forks, in another instance's turns")
def across_joints(trial: Trial) -> None:
    store = trial.store
    for number in range(trial.many(8, 80)):
        blocks: list[Block] = []
        name = f"j{number}"
        for _ in range(3):
            more = [block for block in random_history(trial.random, 7) if block.valid]
            store.add_messages(name, stored(more))
            blocks += more
            if trial.random.random() < 0.6:
                keep = trial.random.randrange(1, len(blocks) + 1)
                blocks = blocks[:keep]
                store.revert_to_message(name, len(stored(blocks)) - 1)
            if trial.random.random() < 0.6:
                name = store.fork_session(name)
        check_cuts(store, name, blocks, f"history {number} of several pieces")


@case("3.6.10", "Texts that only talk about tools are cut like any text", five=True)
def talk(trial: Trial) -> None:
    texts = ["tool_calls", '{"tool_calls": [1]}', "tool_call_id: 7", '{"role": "tool"}', "[TOOL_CALLS]", "tool_use"]
    for content in texts:
        trial.store.add_message("s", "assistant", content)
    for count in range(1, 7):
        wanted = [{"role": "assistant", "content": content} for content in texts[-count:]]
        same(trial.store.get_chat_history("s", count), wanted, f"the last {count}")


@case("3.6.11", "A working history is valid wherever its checkpoint lies, for every cut, and begins with the summary")
def compacted(trial: Trial) -> None:
    store = trial.store
    summary = {"role": "system", "content": "in short"}
    names = [name for name in CURATED if trial.level == "full" or name in ("three parallel calls", "content blocks", "a result too late")]
    for name in names:
        messages = stored(CURATED[name])
        for place in range(1, len(messages) + 1):
            session = f"{name} {place}"
            store.add_messages(session, messages[:place])
            store.append_compaction_checkpoint(session, summary["content"])
            store.add_messages(session, messages[place:])
            after = _after(CURATED[name], place)
            for count in (None, 0, *range(1, len(messages) - place + 3)):
                seen = store.get_working_history(session, count)
                what = f"{name}, a checkpoint after {place} messages, max_messages={count}"
                check_valid(seen, what)
                rest = [] if count == 1 else window(after, count - 1 if count else None)
                same(seen, [summary, *rest], what)


def _after(blocks: Sequence[Block], place: int) -> list[Block]:
    """The blocks after the first ``place`` messages; what is left of one that lies on both sides makes no sense to a model."""
    left: list[Block] = []
    for block in blocks:
        if place < len(block.messages):
            left.append(Block(block.messages[max(place, 0) :], block.valid and place <= 0))
        place -= len(block.messages)
    return left
