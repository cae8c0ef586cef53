"""A bot on Discord in ten lines: everybody who talks to it has a conversation that survives restarts.

pip install 'turnlog[discord]'    (a token from https://discord.com/developers/applications, in DISCORD_BOT_TOKEN)
"""

import sys

from turnlog import Agent
from turnlog.bots import Bot

agent = Agent("Assistant", "Answer briefly.", llm="test")  # a stand-in that needs no key; a real one: llm="openai:gpt-6-luna"
store = sys.argv[1] if len(sys.argv) > 1 else "memory://"  # such as json:///var/lib/mybot or postgresql://...
Bot("discord", agent=agent, session_store=store).run()
