"""One update, answered: a command or one turn of the agent, stored once, delivered, and noted as delivered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from turnlog.bots.commands import Asked, command_in, obey
from turnlog.bots.conversations import Conversations
from turnlog.bots.delivering import Delivery, UndeliverableError
from turnlog.bots.desk import Desk, Desks
from turnlog.bots.events import State, Waiting
from turnlog.bots.keys import Keys
from turnlog.bots.leases import LeaseLostError
from turnlog.bots.platform import Platform, SendsFiles, Update
from turnlog.bots.resets import Resets
from turnlog.errors import ConflictError, CorruptSessionError, FormatVersionError, StorageError
from turnlog.session.awaiting import AwaitedStore

if TYPE_CHECKING:
    from turnlog.agent import Agent

EMPTY = "I take text and pictures; there was neither in your message. /help lists the commands."
FAILED = "Sorry, I have no answer: something failed. Nothing of this was kept; please say it again."
STORE_FAILED = "Sorry, what we say cannot be kept just now. Your message is not lost; I answer as soon as it is possible."
LASTING = (CorruptSessionError, FormatVersionError)
"""Failures of a store that are the same at every attempt."""
NO_WORDS = "(The answer has no words.)"

LOOKED_AT = 256
"""Messages at the end of a conversation among which an answer is looked for that may have been stored before."""
TWINS = 256
"""Conversations whose agents are kept at hand."""
FRESH = 10_000
"""Updates of which is remembered that nobody can have tried them before."""

Report = Callable[[Exception, Update | None], None]


class TurnFailedError(Exception):
    """The agent gave no answer. ``__cause__`` is why; ``partial`` what the user was shown of it."""

    def __init__(self, partial: str) -> None:
        super().__init__()
        self.partial = partial


class GuardedStore(AwaitedStore):
    """A bot's store for the turns of one session: a worker that may have been replaced by another writes nothing any more."""

    def __init__(self, store: AwaitedStore) -> None:
        vars(self).update(vars(store))
        self.check: Callable[[], None] = lambda: None

    async def finish(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """As of any store. Raises LeaseLostError too."""
        self.check()
        return await super().finish(verb, *args, **kwargs)


@dataclass(slots=True)
class Answering:
    """Answers updates. ``platform`` gives the platform at hand; ``report`` is told of every failure."""

    platform: Callable[[], Platform]
    agent: Agent
    store: AwaitedStore
    desks: Desks
    keys: Keys
    resets: Resets
    stream: bool
    report: Report
    _fresh: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _told: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _twins: OrderedDict[str, tuple[GuardedStore, Agent]] = field(default_factory=OrderedDict)
    """By session, the one used last at the end."""

    def came(self, uid: str) -> None:
        """An update was just stored, for the first time."""
        _remember(self._fresh, uid)

    async def answer(self, desk: Desk, state: State, waiting: Waiting, check: Callable[[], None]) -> None:
        """Answer one update. When it returns, nothing more is to be done for it.

        ``check`` raises where this worker is not to go on. Raises StorageError, after the user was told: then it is to be tried again.
        """
        update = waiting.update
        delivery = Delivery(
            platform=self.platform,
            address=update.address,
            note=lambda ids: desk.sent(state, waiting.uid, ids),
            on_error=lambda error: self.report(error, update),
            check=check,
            ids=list(state.sent.get(waiting.uid, ())),
        )
        try:
            try:
                await self._answer(desk, state, waiting, delivery)
            except (UndeliverableError, LeaseLostError):
                raise
            except Exception as error:
                if isinstance(error, StorageError) and not isinstance(error, LASTING):
                    await self._tell_of_store(delivery, waiting, error)
                    raise
                # The same the next time: what waits behind it, such as /new, must not wait for ever.
                self.report(error, update)
                await delivery.finish(FAILED)
                await desk.delivered(state, waiting, failed=True)
        except UndeliverableError as error:
            self.report(_cause(error), update)
            await desk.delivered(state, waiting, failed=True)

    async def _answer(self, desk: Desk, state: State, waiting: Waiting, delivery: Delivery) -> None:
        text = waiting.update.text
        command = command_in(text) if text.startswith("/") else None
        if command is not None:
            await self._obey(*command, desk, state, waiting, delivery)
        elif not waiting.update.photos and not any(each.isprintable() and not each.isspace() for each in text):
            await delivery.finish(EMPTY)
            await desk.delivered(state, waiting, turn=False)
        else:
            try:
                answer, failed = await self._turn(desk, state, waiting, delivery), False
            except TurnFailedError as error:
                self.report(_cause(error), waiting.update)
                answer, failed = "\n\n".join(filter(None, [error.partial, FAILED])), True
            await delivery.finish(answer)
            await desk.delivered(state, waiting, failed=failed)

    async def _obey(self, name: str, argument: str, desk: Desk, state: State, waiting: Waiting, delivery: Delivery) -> None:
        has_files = isinstance(self.platform(), SendsFiles)
        overheard = self.keys.scope == "user" and not waiting.update.is_private
        asked = Asked(self.store, desk, state, waiting, argument, has_files, overheard)
        reply = await obey(name, asked)
        if reply.file is not None:
            await delivery.finish_file("conversation.json", reply.file)
        await delivery.finish(reply.text)
        if reply.forgets:
            self._twins = OrderedDict((key, each) for key, each in self._twins.items() if not asked.own.has(key))
            await desk.erase(waiting.uid)
            state.erased = True
            if not self.store.full and not (await desk.read()).waiting:
                await self.desks.forget(desk.key)
        else:
            await desk.delivered(state, waiting, turn=False)

    async def _turn(self, desk: Desk, state: State, waiting: Waiting, delivery: Delivery) -> str:
        """The answer to a message, stored; or the one that is stored already."""
        session_id = await self._session(desk, state, waiting)
        fresh = waiting.uid in self._fresh
        self._fresh.pop(waiting.uid, None)
        if not fresh and (stored := await self._stored(session_id, waiting.uid)) is not None:
            return stored
        agent = self._twin(session_id, self.keys.owner(waiting.update).user, delivery.check)
        try:
            async with delivery.under_way(draft=self.stream):
                return await self._ask(agent, waiting, delivery)
        except ConflictError as error:
            # Another worker was at work on it, and was first.
            stored = await self._stored(session_id, waiting.uid)
            if stored is None:
                raise TurnFailedError(delivery.text) from error
            return stored
        except (StorageError, LeaseLostError):
            raise
        except Exception as error:
            raise TurnFailedError(delivery.text) from error

    async def _ask(self, agent: Agent, waiting: Waiting, delivery: Delivery) -> str:
        prompt = self._prompt(waiting.update)
        if not self.stream or self.platform().edit_every is None:
            return _text(await agent.achat(prompt, turn_id=waiting.uid))
        async for piece in agent.astream(prompt, turn_id=waiting.uid):
            delivery.grow(piece)
        assert agent.last_turn is not None, "a turn that ended has a result"
        return _text(agent.last_turn.output)

    def _twin(self, session_id: str, user: str | None, check: Callable[[], None]) -> Agent:
        """The agent on a session: it knows what it read there last. Nothing is kept of its turns but what lands: nobody resumes them."""
        store, agent = self._twins.pop(session_id, (None, None))
        if store is None or agent is None:
            store = GuardedStore(self.store)
            agent = self.agent.on_session(session_id, store=store, user_id=user, keep=False)
        store.check = check
        self._twins[session_id] = store, agent
        if len(self._twins) > TWINS:
            self._twins.popitem(last=False)
        return agent

    async def _session(self, desk: Desk, state: State, waiting: Waiting) -> str:
        """The session in which the message belongs; a new one where it is time for that."""
        if not self.resets.due(state.last, waiting.at):
            return state.current or desk.key
        own = Conversations(self.store, desk.key)
        session_id = own.later(waiting.uid)
        await own.begin(session_id)
        await desk.switch(state, waiting.uid, session_id)
        return session_id

    async def _stored(self, session_id: str, uid: str) -> str | None:
        """The answer of the update's turn, if it is stored."""
        from turnlog.agent.stored import result_of, stored_turn

        turn = await stored_turn(self.store, session_id, uid, LOOKED_AT)
        return _text(result_of(uid, turn).output) if turn else None

    def _prompt(self, update: Update) -> Any:
        text = update.text[1:] if update.text.startswith("//") else update.text
        if self.keys.scope != "user" and not update.is_private and update.user_name:
            text = f"{update.user_name}: {text}"
        if not update.photos:
            return text
        from pydantic_ai.messages import BinaryContent

        pictures = [BinaryContent(data=photo.data, media_type=photo.media_type) for photo in update.photos]
        return [text, *pictures] if text else pictures

    async def _tell_of_store(self, delivery: Delivery, waiting: Waiting, error: StorageError) -> None:
        """Tell of a failing store, once for an update; the answer comes later as a message of its own."""
        self.report(error, waiting.update)
        if waiting.uid not in self._told:
            _remember(self._told, waiting.uid)
            try:
                await self.platform().send(delivery.address, STORE_FAILED)
            except Exception as another:  # noqa: BLE001  # told; the store's error is the one that counts
                self.report(another, waiting.update)


def _remember(known: OrderedDict[str, None], uid: str) -> None:
    known[uid] = None
    if len(known) > FRESH:
        known.popitem(last=False)


def _text(output: object) -> str:
    text = output if isinstance(output, str) else str(output)
    return text if text.strip() else NO_WORDS


def _cause(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error
