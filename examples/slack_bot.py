"""A bot on Slack in ten lines: everybody who talks to it has a conversation that survives restarts.

pip install 'turnlog[slack]'    (an app from https://api.slack.com/apps, its tokens in SLACK_BOT_TOKEN and SLACK_APP_TOKEN)
"""

import sys

from turnlog import Agent
from turnlog.bots import Bot

agent = Agent("Assistant", "Answer briefly.", llm="test")  # a stand-in that needs no key; a real one: llm="openai:gpt-6-luna"
store = sys.argv[1] if len(sys.argv) > 1 else "memory://"  # such as json:///var/lib/mybot or postgresql://...
Bot("slack", agent=agent, session_store=store).run()
