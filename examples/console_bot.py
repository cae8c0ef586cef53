"""A bot in ten lines: it talks on this terminal, remembers what was said after a restart, and takes /help.

pip install 'turnlog[agent]'    (on Telegram: 'turnlog[telegram]', TELEGRAM_BOT_TOKEN in the environment, and Bot("telegram", ...))
"""

import sys

from turnlog import Agent
from turnlog.bots import Bot

agent = Agent("Assistant", "Answer briefly.", llm="test")  # a stand-in that needs no key; a real one: llm="openai:gpt-6-luna"
store = sys.argv[1] if len(sys.argv) > 1 else "memory://"  # such as json:///var/lib/mybot or postgresql://...
Bot("console", agent=agent, session_store=store, stream=False).run()
