"""A Telegram bot in ten lines: a conversation for every user, in a file, which goes on after a restart.

pip install 'turnlog[telegram]'    and the token that @BotFather gives in TELEGRAM_BOT_TOKEN
"""

import sys

from turnlog import Agent
from turnlog.bots import Bot

agent = Agent("Assistant", "Answer briefly.", llm="test")  # a stand-in that needs no key; a real one: llm="openai:gpt-6-luna"
store = sys.argv[1] if len(sys.argv) > 1 else "sqlite://./sessions.sqlite"
server = {"base_url": sys.argv[2]} if len(sys.argv) > 2 else {}  # a Bot API server of your own, else Telegram's
Bot("telegram", agent=agent, session_store=store, **server).run()
