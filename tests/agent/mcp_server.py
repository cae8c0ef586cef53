"""An MCP server on standard input and output, of the `mcp` package's own making: one tool, which notes that it ran."""

from __future__ import annotations

import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("loud")


@server.tool()
def shout(word: str) -> str:
    """Say a word loudly."""
    with Path(sys.argv[1]).open("a", encoding="utf-8") as runs:
        runs.write(f"{word}\n")
    return f"{word.upper()}!"


if __name__ == "__main__":
    server.run("stdio")
