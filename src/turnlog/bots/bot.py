"""Bot: an agent on a chat platform. It puts the parts together, takes updates in, starts and stops."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Self

from turnlog.bots.answering import Answering
from turnlog.bots.desk import Desks
from turnlog.bots.events import uid_of
from turnlog.bots.keys import Keys, Link, Scope
from turnlog.bots.leases import Leases
from turnlog.bots.limits import Limits
from turnlog.bots.platform import Platform, Update, make_platform
from turnlog.bots.polling import Receiving
from turnlog.bots.resets import Resets
from turnlog.bots.working import Workers
from turnlog.errors import MessageTooLargeError, SessionError
from turnlog.session.awaiting import AwaitedStore

if TYPE_CHECKING:
    from turnlog.agent import Agent

OnError = Callable[[Exception, Update | None], Awaitable[None] | None]

LOG = logging.getLogger("turnlog.bots")
STRANGER = "Sorry, I am not here for everybody, and you are not on my list."
TOO_MANY = "That is too many messages at once: please wait a little, and say it again then."
TOO_LARGE = "Sorry, that is too large for me; please send less at once."
NOT_STORED = "Sorry, your message could not be stored just now. If no answer comes, please say it again in a while."
_NOT_TEXT = re.compile("[\ud800-\udfff]")


class Bot:
    """An agent on a chat platform, with a conversation for every user that survives restarts.

    ``platform``: "console", "telegram", "discord", "slack", the name of one that an installed package brings, or a Platform. ``agent``
    answers; its session is not used, its memory's window is. ``session_store``: any store, or its URL; None for the agent's own, else
    the default one. ``token`` and further ``options`` are the platform's; None for the environment's ``TELEGRAM_BOT_TOKEN`` and the like.

    ``scope``: whose a conversation is, "user", "chat" or "thread". ``link``: names the person behind a user, as a function of platform
    and user id or as a dict of ``{(platform, user_id): name}``: one person on several platforms has one conversation. ``name`` keeps
    several bots of one platform apart in one store. ``allow``: ids of the users who may talk to it (None: all). ``rate``: (n, seconds).
    ``reset``: "daily@04:00" begins a new conversation every day, in the zone ``zone`` (None: the machine's), ``idle`` after so many
    minutes of silence. ``stream``: show answers as they grow, where the platform can. ``on_error(error, update)`` is told of every
    failure (None: it is logged). ``lease``: seconds after which another worker takes over from one that has died.

    Raises TypeError and ValueError for options that it does not have, ImportError where the platform's package is missing.
    """

    def __init__(
        self,
        platform: str | Platform,
        *,
        agent: Agent,
        session_store: Any = None,
        token: str | None = None,
        scope: Scope = "user",
        link: Link | None = None,
        name: str | None = None,
        allow: Collection[str | int] | None = None,
        rate: tuple[int, float] | None = None,
        reset: str | None = None,
        idle: float | None = None,
        zone: tzinfo | None = None,
        stream: bool = True,
        on_error: OnError | None = None,
        lease: float = 15.0,
        **options: Any,
    ) -> None:
        if not callable(getattr(agent, "on_session", None)):
            raise TypeError(f"agent must be a turnlog Agent, not {type(agent).__name__}: write Bot(…, agent=Agent(…))")
        make = self._maker(platform, token, options)
        made = make() if make is not None else platform
        assert not isinstance(made, str)
        self.store = AwaitedStore(agent.session_store if session_store is None else session_store)
        self.agent = agent
        self.keys = Keys(made.name, name, scope, link)
        self._limits = Limits(allow, rate)
        self._on_error = on_error
        self._background: set[asyncio.Task[None]] = set()
        self._told: dict[str, None] = {}
        self._running = False
        self._ended = False
        self._leases = Leases(self.store, lease, lambda error: self._report(error, None))
        self._receiving = Receiving(self.store, self.keys.bot, self._leases, made, make, lambda error: self._report(error, None))
        self._desks = Desks(self.store, self.keys.bot)
        resets = Resets(idle, reset, zone)
        self._answering = Answering(lambda: self.platform, agent, self.store, self._desks, self.keys, resets, stream, self._report)
        self._workers = Workers(self.store, self.keys, self._desks, self._answering, self._leases, self._report)

    @property
    def platform(self) -> Platform:
        """The platform at hand."""
        return self._receiving.platform

    def __repr__(self) -> str:
        return f"Bot({self.keys.platform!r}, agent={self.agent!r})"

    # Life -----------------------------------------------------------------------------------------------------------------------

    def run(self, *, timeout: float = 30.0) -> None:
        """Run until SIGINT or SIGTERM, or until the platform's input has ended; then stop as ``stop`` does. For plain Python."""
        asyncio.run(self._run(timeout))

    async def start(self) -> None:
        """Connect and begin to answer: first what a run before left unanswered. Returns when it runs.

        Raises ModelNotConfiguredError, and what the platform and the store raise.
        """
        if self._running:
            raise RuntimeError("the bot runs already")
        if self._ended:
            raise RuntimeError("the bot was stopped, and its platform closed: make a new one")
        self._running = True
        try:
            # What is wrong with the agent is told now, and not to the first user.
            self.agent.prepare()
            await self._receiving.open(self.receive)
        except BaseException:
            self._running = False
            await self._receiving.close()
            raise
        self._workers.start()
        LOG.info("%s runs", self.keys.bot)

    async def stop(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109  # told to those who wait, as seconds of patience
        """Stop: begin nothing new, finish what is in flight within ``timeout`` seconds, then let go of platform and store.

        What came and was not answered is answered when the next bot starts, or by another worker. Idempotent; it does not start again.
        """
        if not self._running:
            return
        self._running, self._ended = False, True
        try:
            await self._workers.stop(timeout)
            await self._receiving.close()
            while self._background:
                await asyncio.wait(list(self._background), timeout=timeout)
                for task in self._background:
                    task.cancel()
        finally:
            await self.store.close()

    async def idle(self) -> None:
        """Wait until all that this process received is answered."""
        await self._workers.idle()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # Receiving ------------------------------------------------------------------------------------------------------------------

    async def receive(self, update: Update) -> None:
        """Take an update in. Returns once it is stored, or refused and the user told. Raises SessionError where it may not be stored."""
        if _NOT_TEXT.search(update.text) or _NOT_TEXT.search(update.user_name or ""):
            name = update.user_name and _NOT_TEXT.sub("\ufffd", update.user_name)
            update = replace(update, text=_NOT_TEXT.sub("\ufffd", update.text), user_name=name)
        verdict = self._limits.judge(update.user_id, update.id)
        if verdict in ("stranger", "too many"):
            self._say(update, STRANGER if verdict == "stranger" else TOO_MANY)
        if verdict not in ("welcome", "repeated"):
            return
        key = self.keys.owner(update).key
        try:
            await self._desks.remember(key)
            new = await self._desks.of(key).receive(self.keys.platform, update, time.time())
            # It may have been taken from the list meanwhile, as that of an erased desk.
            await self._desks.remember(key)
        except MessageTooLargeError as error:
            self._report(error, update)
            self._say(update, TOO_LARGE)
            return
        except SessionError as error:
            self._report(error, update)
            self._say_once(update, NOT_STORED)
            raise
        if new:
            self._answering.came(uid_of(self.keys.platform, update.id))
        self._workers.wake(key)

    # Inside ---------------------------------------------------------------------------------------------------------------------

    async def _run(self, timeout: float) -> None:  # noqa: ASYNC109  # as in stop
        stopping = asyncio.Event()
        here = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                here.add_signal_handler(number, stopping.set)
            except (NotImplementedError, RuntimeError, ValueError):
                # Not the main thread, or a system without signals: whoever started it ends it by other means.
                break
        try:
            await self.start()
        except BaseException:
            await self.store.close()
            raise
        try:
            await self._end(stopping)
        finally:
            await self.stop(timeout)

    async def _end(self, stopping: asyncio.Event) -> None:
        """Wait for a signal, or for the end of the input and of all that is to be answered then."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(stopping.wait())]
        ended = getattr(self.platform, "ended", None)
        if ended is not None:
            waits.append(asyncio.create_task(self._after(ended)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _after(self, ended: asyncio.Event) -> None:
        await ended.wait()
        await self._workers.idle()

    def _maker(self, platform: str | Platform, token: str | None, options: dict[str, Any]) -> Callable[[], Platform] | None:
        if isinstance(platform, str):
            found = token or os.environ.get(f"{platform.upper()}_BOT_TOKEN")
            return lambda: make_platform(platform, token=found, **options)
        if token is not None or options:
            raise TypeError(f"{', '.join(['token'] * (token is not None) + sorted(options))}: a Platform takes its options when it is made")
        return None

    def _say_once(self, update: Update, text: str) -> None:
        """``_say``, once for an update, as often as it is delivered again."""
        if update.id not in self._told:
            self._told[update.id] = None
            if len(self._told) > 10_000:
                del self._told[next(iter(self._told))]
            self._say(update, text)

    def _say(self, update: Update, text: str) -> None:
        """Tell a user something that is no answer. Nobody waits for it."""

        async def say() -> None:
            try:
                await self.platform.send(update.address, text)
            except Exception as error:  # noqa: BLE001  # reported; there is nothing to be answered
                self._report(error, update)

        self._spawn(say())

    def _report(self, error: Exception, update: Update | None) -> None:
        """Tell ``on_error``, or the log, which gets no content of messages."""
        if self._on_error is None:
            what = str(error) if isinstance(error, SessionError) else "its text is left out, as it may hold what users wrote"
            LOG.error("%s: %s (update %s)", type(error).__name__, what, update.id if update is not None else "none")
            return
        try:
            told = self._on_error(error, update)
        except Exception as another:  # noqa: BLE001  # an error of the one who is told of errors
            LOG.error("on_error raised %s when told of %s", type(another).__name__, type(error).__name__)
            return
        if inspect.isawaitable(told):
            self._spawn(self._awaited(told))

    async def _awaited(self, told: Awaitable[None]) -> None:
        try:
            await told
        except Exception as another:  # noqa: BLE001  # as above
            LOG.error("on_error raised %s", type(another).__name__)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
