"""The example bots of Discord and Slack answer, as a program that a newcomer starts and a signal ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bots import discord_api, slack_api
from tests.bots.discord_api import DiscordApi
from tests.bots.slack_api import SlackApi

ROOT = Path(__file__).parents[2]

DISCORD = """
import runpy, sys, warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from discord.gateway import DiscordWebSocket
    from discord.http import Route
import yarl
Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = f"{sys.argv[2]}/api", yarl.URL(f"{sys.argv[2]}/gateway/".replace("http", "ws"))
sys.argv[1:] = [sys.argv[3]]
runpy.run_path(EXAMPLE, run_name="__main__")
"""
SLACK = """
import runpy, sys
from turnlog.bots.slack.platform import Slack
Slack.__init__.__kwdefaults__["base_url"] = f"{sys.argv[2]}/api/"
sys.argv[1:] = [sys.argv[3]]
runpy.run_path(EXAMPLE, run_name="__main__")
"""


def talked(program: str, name: str, url: str, place: Path, said: Callable[[], list[str]], say: Callable[[], object]) -> None:
    """Start an example twice on one store, have ``say`` done, wait for its answer, and end it by a signal."""
    example = ROOT / "examples" / f"{name}.py"
    code = program.replace("EXAMPLE", repr(str(example)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"DISCORD_BOT_TOKEN": discord_api.TOKEN, "SLACK_BOT_TOKEN": slack_api.TOKEN, "SLACK_APP_TOKEN": slack_api.APP_TOKEN}
    for times in (1, 2):
        arguments = [sys.executable, "-W", "error", "-c", code, name, url, f"sqlite://{place}/s.sqlite"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(arguments, cwd=place, env=environment, text=True, **pipes)
        try:
            say()
            end = time.monotonic() + 60
            while len(said()) < times and time.monotonic() < end and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            shown, complaints = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        assert (process.returncode, shown, complaints) == (0, "", "")
        assert len(said()) == times


def test_discord(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with DiscordApi() as api:

        def say() -> None:
            before = api.calls["identify"]
            end = time.monotonic() + 60
            while api.calls["identify"] == before and time.monotonic() < end:
                time.sleep(0.05)
            api.say("hello")

        talked(DISCORD, "discord_bot", api.url, tmp_path, api.texts, say)


def test_slack(tmp_path: Path) -> None:
    with SlackApi() as api:
        # What was sent while nobody was there is delivered when somebody is.
        talked(SLACK, "slack_bot", api.url, tmp_path, api.texts, lambda: api.say("hello"))


@pytest.mark.parametrize("name", ["discord", "slack"])
def test_a_package_that_is_missing_is_named(name: str, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    package = {"discord": "discord", "slack": "slack_bolt"}[name]
    options = {"discord": "", "slack": ", app_token='x'"}[name]
    code = f"import sys; sys.modules[{package!r}] = None; import turnlog.bots.{name} as it; it.make(token='x'{options})"
    complaint = run_python("-c", code, status=1).stderr.splitlines()[-1]
    assert complaint.startswith("ImportError: ")
    assert f"pip install 'turnlog[{name}]'" in complaint
