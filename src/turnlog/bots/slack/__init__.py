"""The Slack platform: slack-bolt's async app, through Socket Mode. ``pip install 'turnlog[slack]'``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from turnlog.bots.platform import TokenError

if TYPE_CHECKING:
    from turnlog.bots.slack.platform import Slack

VARIABLE, APP_VARIABLE = "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"
"""The environment variables that hold the bot's token, ``xoxb-…``, and the app's, ``xapp-…``, where none is given."""


def make(*, token: str | None = None, app_token: str | None = None, **options: Any) -> Slack:
    """The platform; ``options`` are those of ``Slack``. Raises TokenError, ImportError with the pip command, TypeError."""
    found, found_app = token or os.environ.get(VARIABLE), app_token or os.environ.get(APP_VARIABLE)
    if not found:
        raise TokenError(f"there is no bot token for Slack: pass token=…, or set {VARIABLE} to the xoxb-… of OAuth & Permissions")
    if not found_app:
        raise TokenError(f"there is no app token for Slack: pass app_token=…, or set {APP_VARIABLE} to an xapp-… with connections:write")
    try:
        from turnlog.bots.slack.platform import Slack
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("slack_bolt", "slack_sdk", "aiohttp"):
            raise
        raise ImportError("a Slack bot needs slack-bolt and aiohttp: pip install 'turnlog[slack]'") from error
    return Slack(found, found_app, **options)


def manifest(name: str, command: str = "/assistant") -> dict[str, Any]:
    """What an app of that name needs, to be pasted where Slack asks for a manifest (https://api.slack.com/apps, "From a manifest").

    ``command``: the slash command by which users reach the menu, as in ``/assistant new``; Slack knows no menu that a bot registers.
    """
    from turnlog.bots.commands import COMMANDS

    scopes = ["app_mentions:read", "assistant:write", "chat:write", "commands", "files:read", "files:write", "im:history", "im:write"]
    hint = " | ".join(each.name for each in COMMANDS)
    return {
        "display_information": {"name": name},
        "features": {
            "app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": False},
            "bot_user": {"display_name": name, "always_online": True},
            "slash_commands": [{"command": command, "description": "Manage your conversations", "usage_hint": hint}],
        },
        "oauth_config": {"scopes": {"bot": [*scopes, "users:read"]}},
        "settings": {"event_subscriptions": {"bot_events": ["app_mention", "message.im"]}, "socket_mode_enabled": True},
    }
