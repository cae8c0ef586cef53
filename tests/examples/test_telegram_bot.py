"""The Telegram example, run as it stands against a Bot API on loopback, stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.bots.telegram_api import TOKEN, TelegramApi

EXAMPLE = Path(__file__).parents[2] / "examples" / "telegram_bot.py"


def test_the_conversation_goes_on_after_a_restart(tmp_path_factory: object) -> None:
    place = tmp_path_factory.mktemp("bot")  # type: ignore[attr-defined]
    with TelegramApi() as api:
        for messages in (2, 4):
            command = [sys.executable, "-W", "error", str(EXAMPLE), f"sqlite://{place}/sessions.sqlite", api.url]
            told = {**os.environ, "TELEGRAM_BOT_TOKEN": TOKEN, "PYTHONDONTWRITEBYTECODE": "1"}
            with subprocess.Popen(command, env=told, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                try:
                    there = len(api.shown[7])
                    api.say("hello")
                    api.wait(lambda there=there: len(api.shown[7]) > there)  # type: ignore[misc]
                    api.say("/status")
                    api.wait(lambda there=there: len(api.shown[7]) > there + 1)  # type: ignore[misc]
                    assert api.texts()[-1] == f"Conversation first: {messages} messages."
                finally:
                    process.send_signal(signal.SIGTERM)
                    out, errors = process.communicate(timeout=60)
            assert (process.returncode, out, errors) == (0, "", "")
        assert api.texts()[0] == "success (no tool calls)"
        assert {command["command"] for command in api.commands} >= {"new", "forget", "help"}
