"""Session(agent_url=…) on a served agent, as documented."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.agent.api_client import ModelApi
from tests.server.conftest import ALICE, BOB, ServedAgent
from turnlog import Session
from turnlog.agent import AgentUnavailableError
from turnlog.session import SqliteSessionStore


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["", "/", "/chat", "/agent"])
def test_a_remote_session_goes_on(server: ServedAgent, api: ModelApi, place: Path, path: str) -> None:
    name = f"remote{path}"
    first = Session(name, "ann", agent_url=f"{server.host}{path}", headers=headers(ALICE))
    assert first.chat("my name is Ann") == "Hello, Ann."
    later = Session(name, "ann", agent_url=f"{server.host.removeprefix('http://')}{path}", headers=headers(ALICE))
    assert later.send_message("what is my name?") == "Your name is Ann."
    assert asyncio.run(later.achat("what is my name?")) == "Your name is Ann."
    others = Session(name, "ann", agent_url=f"{server.host}{path}", headers=headers(BOB))
    assert others.chat("what is my name?") == "You did not say."
    with SqliteSessionStore(place / "s.sqlite") as store:
        info = store.get_session_info(f"served.alice.{name}")
    assert info is not None
    assert (info.message_count, info.user_id) == (6, "ann")


def test_what_is_refused_is_told(server: ServedAgent, api: ModelApi) -> None:
    with pytest.raises(AgentUnavailableError, match="401: pass headers="):
        Session("s", agent_url=server.host).chat("hello")
    with pytest.raises(AgentUnavailableError, match="404: .* has no /v1"):
        Session("s", agent_url=f"{server.host}/v1", headers=headers(ALICE)).chat("hello")
    with pytest.raises(AgentUnavailableError, match="400: it does not take this message"):
        Session("s", agent_url=server.host, headers=headers(ALICE)).chat(" ")
    with pytest.raises(AgentUnavailableError, match="502") as caught:
        Session("s", agent_url=server.host, headers=headers(ALICE)).chat("fail")
    assert caught.value.status == 502
