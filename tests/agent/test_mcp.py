"""An agent whose tools are a real MCP server's, over standard input and output: its turns are stored and sent again like any other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fastmcp.client.transports import StdioTransport
from pydantic_ai.mcp import MCPToolset

from tests.agent.api_client import ModelApi
from tests.agent.conftest import MakeAgent
from tests.strict_api import broken_rules

SERVER = Path(__file__).with_name("mcp_server.py")


def server(runs: Path) -> MCPToolset[Any]:
    """The server in a process of its own, which the toolset starts and ends."""
    return MCPToolset(StdioTransport(sys.executable, [str(SERVER), str(runs)], keep_alive=False))


def test_a_turn_with_tools_of_an_mcp_server(api: ModelApi, make_agent: MakeAgent, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    agent = make_agent("json", tools=[server(runs)])
    assert agent.chat("use shout with ada, use shout with bob") == "The tools said ADA!; BOB!."
    history = agent.chat_history
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [call["function"]["name"] for call in history[1]["tool_calls"]] == ["shout", "shout"]
    assert [message["content"] for message in history[2:4]] == ["ADA!", "BOB!"]
    assert broken_rules(history) == []
    agent.close()

    again = make_agent("json", tools=[server(runs)])
    assert again.chat("my name is Ada") == "Hello, Ada."
    sent = str(api.requests()[-1]["messages"])
    assert sent.count("ADA!") == 2 and sent.count("BOB!") == 2, "the results and the answer that repeats them were sent again"
    assert sorted(runs.read_text(encoding="utf-8").split()) == ["ada", "bob"], "a stored call was not run again"
    assert len(again.chat_history) == 7
