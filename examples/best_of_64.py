"""Sixty-four answers at once, each on a fork of the same long conversation; the best one is kept, and no message is copied.

pip install 'turnlog[agent]'
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from tempfile import TemporaryDirectory

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from turnlog import Agent
from turnlog.session import AsyncSqliteSessionStore

TRIES = 64
LENGTH = 10_000


async def stand_in(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands in for a model, as this must run without a key: it waits as one would, and answers each try differently."""
    await asyncio.sleep(0.2)
    asked = [part.content for message in messages for part in message.parts if part.part_kind == "user-prompt"]
    return ModelResponse(parts=[TextPart(f"A slogan, rated {hash_of(str(asked[-1]))}")])


def hash_of(text: str) -> int:
    """A number that depends on the text, the same in every process."""
    return sum(ord(letter) * place for place, letter in enumerate(text, 1)) * 7919 % 1000


def score(answer: str) -> int:
    """How good an answer is: a test that runs, a judge's mark, a length; here the number in it."""
    return int(answer.split()[-1])


def rows(path: str) -> int:
    """How many messages the file holds."""
    with sqlite3.connect(path) as database:
        count: int = database.execute("SELECT count(*) FROM records").fetchone()[0]
    database.close()
    return count


async def main(path: str) -> None:
    """Fork, ask, score, keep one."""
    async with AsyncSqliteSessionStore(path) as store:
        for start in range(0, LENGTH, 1_000):
            batch = [{"role": "assistant" if n % 2 else "user", "content": f"message {n}"} for n in range(start, start + 1_000)]
            await store.add_messages("campaign", batch)
        before = rows(path)

        # With a key at hand: llm="openai:gpt-6-luna"
        agent = Agent("Copywriter", llm=FunctionModel(stand_in), memory={"session_id": "campaign", "store": store, "history_limit": 20})
        began = time.monotonic()
        forks = await asyncio.gather(*(agent.afork() for _ in range(TRIES)))
        forked = time.monotonic()
        answers = await asyncio.gather(*(fork.achat(f"Write a slogan. Try {number}.") for number, fork in enumerate(forks)))
        ended = time.monotonic()

        best = max(range(TRIES), key=lambda number: score(answers[number]))
        print(f"{TRIES} forks of {LENGTH:,} messages in {(forked - began) * 1000:.0f} ms, {TRIES} answers in {ended - forked:.2f} s")
        print(f"The best: {answers[best]} (try {best}; the worst: {min(map(score, answers))})")
        added = rows(path) - before
        print(f"Messages in the file: {before:,} before, {added} more now = {TRIES} questions and {TRIES} answers; none was copied.")

        for number, fork in enumerate(forks):
            if number != best:
                await store.delete_session(fork.session_id)
        kept = forks[best]
        print(f"After the others were deleted: {rows(path) - before} more. The kept fork has {len(await history(store, kept)):,} messages.")


async def history(store: AsyncSqliteSessionStore, agent: Agent) -> list[dict[str, object]]:
    """The whole conversation of an agent."""
    return await store.get_chat_history(agent.session_id)


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        asyncio.run(main(f"{place}/sessions.sqlite"))
