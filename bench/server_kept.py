"""The stores on database servers that stand side by side, each behind the same four verbs, through its own public API."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Protocol

from bench.material import messages

TURN = 2
"""Messages written at once while a session is filled: a question and its answer."""
EVERYTHING = 1_000_000
Pairs = list[tuple[str, str]]
"""Roles and texts."""


class Conversation(Protocol):
    """One session in one store; all verbs are called within one event loop."""

    async def open(self) -> None:
        """Connect, and create the session unless it is there."""

    async def add(self, pairs: Pairs) -> None:
        """Append these messages at once."""

    async def last(self, count: int) -> list[Any]:
        """The last messages, in the store's own form."""

    def text(self, message: Any) -> str:
        """The text of one of them."""

    async def close(self) -> None:
        """Let go of the connection."""


class OnTurnlog:
    """A session in a turnlog store."""

    def __init__(self, store: str, url: str, session_id: str, **options: Any) -> None:
        self._store_name, self._url, self._session_id, self._options = store, url, session_id, options

    async def open(self) -> None:
        """See Conversation.open."""
        import turnlog.session

        self._store = getattr(turnlog.session, self._store_name)(self._url, **self._options)

    async def add(self, pairs: Pairs) -> None:
        """See Conversation.add."""
        if len(pairs) == 1:
            ((role, text),) = pairs
            await self._store.add_message(self._session_id, role, text)
        else:
            await self._store.add_messages(self._session_id, [{"role": role, "content": text} for role, text in pairs])

    async def last(self, count: int) -> list[Any]:
        """See Conversation.last."""
        history: list[Any] = await self._store.get_chat_history(self._session_id, count)
        return history

    text = staticmethod(itemgetter("content"))

    async def close(self) -> None:
        """See Conversation.close."""
        await self._store.close()


class OnOpenAI:
    """A session of the openai-agents package."""

    def __init__(self, open_session: Callable[[], Any]) -> None:
        self._open = open_session

    async def open(self) -> None:
        """See Conversation.open."""
        self._session = self._open()

    async def add(self, pairs: Pairs) -> None:
        """See Conversation.add."""
        await self._session.add_items([{"role": role, "content": text} for role, text in pairs])

    async def last(self, count: int) -> list[Any]:
        """See Conversation.last."""
        items: list[Any] = await self._session.get_items(count)
        return items

    text = staticmethod(itemgetter("content"))

    async def close(self) -> None:
        """See Conversation.close."""
        if hasattr(self._session, "engine"):
            await self._session.engine.dispose()
        else:
            await self._session.close()


class OnAdk:
    """A session of Google ADK's DatabaseSessionService; read anew after an event was refused, as the next turn of a program would."""

    def __init__(self, url: str, session_id: str) -> None:
        self._url, self._key = url, {"app_name": "bench", "user_id": "one", "session_id": session_id}

    async def open(self) -> None:
        """See Conversation.open."""
        from google.adk.errors.already_exists_error import AlreadyExistsError
        from google.adk.events import Event
        from google.adk.sessions import DatabaseSessionService
        from google.adk.sessions.base_session_service import GetSessionConfig
        from google.genai.types import Content, Part

        self._event, self._content, self._part, self._recent = Event, Content, Part, GetSessionConfig
        self._service = DatabaseSessionService(self._url)
        with suppress(AlreadyExistsError):
            await self._service.create_session(**self._key)
        self._session = await self._read(1)

    async def _read(self, count: int) -> Any:
        return await self._service.get_session(**self._key, config=self._recent(num_recent_events=count))

    async def add(self, pairs: Pairs) -> None:
        """See Conversation.add."""
        for role, text in pairs:
            role = "user" if role == "user" else "model"
            event = self._event(author=role, content=self._content(role=role, parts=[self._part(text=text)]))
            try:
                await self._service.append_event(self._session, event)
            except Exception:
                self._session = await self._read(1)
                raise

    async def last(self, count: int) -> list[Any]:
        """See Conversation.last."""
        events: list[Any] = (await self._read(count)).events
        return events

    def text(self, message: Any) -> str:
        """See Conversation.text."""
        text: str = message.content.parts[0].text
        return text

    async def close(self) -> None:
        """See Conversation.close."""
        await self._service.close()


class OnLangGraph:
    """A thread of LangGraph's PostgresSaver: a graph of one node, whose state is the messages. Its verbs block."""

    def __init__(self, url: str, session_id: str) -> None:
        self._url, self._config = url, {"configurable": {"thread_id": session_id}}
        self._scope = ExitStack()

    async def open(self) -> None:
        """See Conversation.open."""
        from langchain_core.messages import AIMessage, HumanMessage
        from langgraph.checkpoint.postgres import PostgresSaver
        from langgraph.graph import START, MessagesState, StateGraph

        self._kinds = {"user": HumanMessage, "assistant": AIMessage}
        saver = self._scope.enter_context(PostgresSaver.from_conn_string(self._url))
        saver.setup()
        graph = StateGraph(MessagesState)
        graph.add_node("chat", lambda state: {})
        graph.add_edge(START, "chat")
        self._graph = graph.compile(checkpointer=saver)

    async def add(self, pairs: Pairs) -> None:
        """See Conversation.add."""
        self._graph.update_state(self._config, {"messages": [self._kinds[role](text) for role, text in pairs]}, as_node="chat")

    async def last(self, count: int) -> list[Any]:
        """See Conversation.last; the state holds all of them, and all are read."""
        found: list[Any] = self._graph.get_state(self._config).values["messages"][-count:]
        return found

    def text(self, message: Any) -> str:
        """See Conversation.text."""
        text: str = message.content
        return text

    async def close(self) -> None:
        """See Conversation.close."""
        self._scope.close()


class Driven:
    """A conversation that is driven from outside, over one event loop that lives as long as it does; times leave the loop's start out."""

    def __init__(self, conversation: Conversation, *, fill_at_once: int = TURN) -> None:
        self.conversation = conversation
        self._at_once = fill_at_once
        self._loop = asyncio.new_event_loop()
        self._stream = messages()
        self.run(conversation.open())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Its result."""
        return self._loop.run_until_complete(coroutine)

    def fill(self, count: int) -> None:
        """Append that many, a turn at a time."""

        async def write() -> None:
            left = count
            while pairs := list(islice(self._stream, min(self._at_once, left))):
                await self.conversation.add(pairs)
                left -= len(pairs)

        self.run(write())

    def append(self, count: int) -> float:
        """Append as many, one by one, and give the seconds they took."""
        pairs = [[pair] for pair in islice(self._stream, count)]

        async def write() -> float:
            begin = time.perf_counter()
            for pair in pairs:
                await self.conversation.add(pair)
            return time.perf_counter() - begin

        seconds: float = self.run(write())
        return seconds

    def last(self, count: int, messages_read: int = 50) -> float:
        """Read the last 50 messages as many times and give the seconds it took."""

        async def read() -> float:
            begin = time.perf_counter()
            for _ in range(count):
                await self.conversation.last(messages_read)
            return time.perf_counter() - begin

        seconds: float = self.run(read())
        return seconds

    def texts(self) -> list[str]:
        """All texts of the session, in order."""
        return [self.conversation.text(message) for message in self.run(self.conversation.last(EVERYTHING))]

    def close(self) -> None:
        """Close the conversation and its loop."""
        self.run(self.conversation.close())
        self.run(self._loop.shutdown_asyncgens())
        self.run(self._loop.shutdown_default_executor())
        self._loop.close()


@dataclass(frozen=True, slots=True)
class ServerPeer:
    """A store on a server and how to open a session in it."""

    name: str
    package: str
    """The distribution it comes from; "" for turnlog."""
    engine: str
    beside: str
    """The store of turnlog that it is compared with: on the same server, as durable."""
    power: bool
    """Whether an append waits for the disk, on a server that is set so."""
    talk: Callable[[str, str], Conversation]
    """Given the server's URL and a session's id."""
    fill_at_once: int = TURN

    @property
    def full_name(self) -> str:
        """The name with the program it belongs to."""
        return f"{self.package} {self.name}".lstrip()

    def open(self, url: str, session_id: str) -> Driven:
        """The session, connected."""
        return Driven(self.talk(url, session_id), fill_at_once=self.fill_at_once)


def _asyncpg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)


def _sqlalchemy_session(url: str, session_id: str) -> Conversation:
    from agents.extensions.memory import SQLAlchemySession

    return OnOpenAI(lambda: SQLAlchemySession.from_url(session_id, url=_asyncpg(url), create_tables=True))


def _redis_session(url: str, session_id: str) -> Conversation:
    from agents.extensions.memory import RedisSession

    return OnOpenAI(lambda: RedisSession.from_url(session_id, url=url))


def _mongodb_session(database: str, settings: str = "") -> Callable[[str, str], Conversation]:
    def talk(url: str, session_id: str) -> Conversation:
        from agents.extensions.memory import MongoDBSession

        return OnOpenAI(lambda: MongoDBSession.from_uri(session_id, uri=url + settings, database=database))

    return talk


def _turnlog(store: str, **options: Any) -> Callable[[str, str], Conversation]:
    return lambda url, session_id: OnTurnlog(store, url, session_id, **options)


POSTGRESQL, REDIS, MONGODB = "PostgreSQL", "Redis", "MongoDB"
OURS = {engine: f"turnlog {engine}" for engine in (POSTGRESQL, REDIS, MONGODB)}
HASTY = 'turnlog MongoDB, "process"'
"""Not journaled, as MongoDB's own default is."""
PEERS = (
    ServerPeer(OURS[POSTGRESQL], "", POSTGRESQL, OURS[POSTGRESQL], True, _turnlog("AsyncPostgresSessionStore")),
    ServerPeer("SQLAlchemySession", "openai-agents", POSTGRESQL, OURS[POSTGRESQL], True, _sqlalchemy_session),
    ServerPeer("DatabaseSessionService", "google-adk", POSTGRESQL, OURS[POSTGRESQL], True, lambda url, name: OnAdk(_asyncpg(url), name)),
    # It writes the whole state with each update: filled turn by turn, it would keep the others waiting for minutes.
    ServerPeer("PostgresSaver", "langgraph", POSTGRESQL, OURS[POSTGRESQL], True, OnLangGraph, fill_at_once=EVERYTHING),
    ServerPeer(OURS[REDIS], "", REDIS, OURS[REDIS], True, _turnlog("AsyncRedisSessionStore")),
    ServerPeer("RedisSession", "openai-agents", REDIS, OURS[REDIS], True, _redis_session),
    ServerPeer(OURS[MONGODB], "", MONGODB, OURS[MONGODB], True, _turnlog("AsyncMongoSessionStore")),
    ServerPeer(
        "MongoDBSession, journaled",
        "openai-agents",
        MONGODB,
        OURS[MONGODB],
        True,
        _mongodb_session("journaled", "?w=majority&journal=true"),
    ),
    ServerPeer(HASTY, "", MONGODB, HASTY, False, _turnlog("AsyncMongoSessionStore", durability="process", prefix="hasty_")),
    ServerPeer("MongoDBSession", "openai-agents", MONGODB, HASTY, False, _mongodb_session("agents")),
)


def stay_quiet() -> None:
    """Keep the packages from reporting home."""
    os.environ.update(
        {"DO_NOT_TRACK": "1", "OPENAI_AGENTS_DISABLE_TRACING": "1", "LANGSMITH_TRACING": "false", "OTEL_SDK_DISABLED": "true"}
    )
