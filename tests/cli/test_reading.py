"""list, show, search and diff: what they print for people, and as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import WEATHER, Run
from turnlog.cli.reading import moment
from turnlog.session import SessionStore

Read = Callable[..., Any]


def test_list_shows_sessions_last_changed_first(run: Run, read: Read) -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["SESSION", "TITLE", "MESSAGES", "CHANGED", "AGENT"]
    assert [line.split()[0] for line in lines[1:]] == ["other", "trip-train", "trip"]
    assert "Trip to Lisbon" in lines[3]
    assert lines[3].split()[-1] == "Assistant"
    assert [line["session_id"] for line in read("list")] == ["other", "trip-train", "trip"]
    assert {"title": "Trip to Lisbon", "message_count": 6, "metadata": {}}.items() <= read("list")[2].items()


def test_list_chooses(read: Read) -> None:
    def names(*arguments: str) -> list[str]:
        return [line["session_id"] for line in read("list", *arguments)]

    assert names("--agent", "Assistant") == ["trip-train", "trip"]
    assert names("--agent", "Nobody") == []
    assert names("--prefix", "trip-") == ["trip-train"]
    assert names("--since", "1h") == ["other", "trip-train", "trip"]
    assert names("--since", "2999-01-01") == []
    assert names("-n", "1") == ["other"]


def test_list_says_where_it_stopped(run: Run) -> None:
    cut = run("list", "-n", "2")
    assert len(cut.stdout.splitlines()) == 3
    assert "--all shows more" in cut.stderr
    assert run("list", "-n", "3").stderr == ""
    assert len(run("list", "-n", "2", "--all").stdout.splitlines()) == 4


@pytest.fixture
def bot(store: SessionStore) -> None:
    """What a bot leaves: two conversations of one user, and beside them what it keeps for itself."""
    for name in ("bot_edge_7", "bot_edge_7.0123abcd", *ASIDE):
        store.add_messages(name, [{"role": "user", "content": f"a harbour, {name}"}])


ASIDE = ("bot_edge_7.desk", "bot_edge_8.desk", "bot_edge.desks", "bot_edge_7.list", "bot_edge.poller")


@pytest.mark.usefixtures("bot")
def test_what_bots_keep_for_themselves_is_shown_with_all_only(run: Run, read: Read) -> None:
    def names(*arguments: str) -> list[str]:
        return sorted(line["session_id"] for line in read(*arguments))

    talks = ["bot_edge_7", "bot_edge_7.0123abcd"]
    assert names("list", "--prefix", "bot_") == names("search", "harbour") == talks
    assert names("list", "--prefix", "bot_", "-n", "2") == names("search", "harbour", "-n", "2") == talks
    assert names("list", "--prefix", "bot_", "--all") == names("search", "harbour", "--all") == sorted([*talks, *ASIDE])
    assert names("tree") == sorted([*talks, "other", "trip"])
    assert names("tree", "--all") == sorted([*talks, *ASIDE, "other", "trip"])
    assert names("tree", "bot_edge_7.desk") == ["bot_edge_7.desk"]
    assert "--all shows more" not in run("list", "-n", "5").stderr


@pytest.mark.usefixtures("bot")
def test_the_beginning_of_an_id_is_a_conversations_before_it_is_a_desks(read: Read) -> None:
    assert read("show", "bot_edge_7.0")["session_id"] == "bot_edge_7.0123abcd"
    assert read("show", "bot_edge_8")["session_id"] == "bot_edge_8.desk"
    assert read("show", "bot_edge_7.")["session_id"] == "bot_edge_7.0123abcd"


def test_an_empty_place_is_no_error(run: Run) -> None:
    assert "no sessions" in run("--store", "memory://", "list").stderr
    assert "no sessions" in run("--store", "memory://", "tree").stderr


def test_times_to_list_from() -> None:
    assert abs(time.time() - 7 * 86400 - moment("7d")) < 5
    assert moment("2026-11-02T10:00:00+00:00") == 1793613600
    assert moment("2026-11-02") == time.mktime((2026, 11, 2, 0, 0, 0, 0, 0, -1))


@pytest.mark.parametrize("text", ["yesterday", "7y", "", "2026-13-01"])
def test_a_time_that_is_none_is_wrong_usage(text: str, run: Run) -> None:
    if text:
        assert "is no time: write" in run("list", "--since", text, status=2).stderr


def test_show_folds_calls_and_results(run: Run) -> None:
    text = run("show", "trip").stdout
    assert text.startswith("trip\n  title       Trip to Lisbon\n  agent       Assistant\n")
    assert "\n#1 user" in text
    assert "\n  How is the weather in Lisbon?\n  And in Porto?\n" in text
    assert '\n  -> get_weather {"city": "Lisbon"}\n  -> get_weather {"city": "Porto"}\n' in text
    assert "\n  <- get_weather: sunny  (+1 line)\n" in text
    assert "\n  <- get_weather: rain\n" in text
    assert "28 degrees" not in text


def test_show_full_folds_nothing(run: Run, store: SessionStore) -> None:
    store.add_message("trip", "user", "Thanks", {"channel": "web"})
    text = run("show", "trip", "--full").stdout
    assert '\n  -> get_weather  call_1\n     {\n       "city": "Lisbon"\n     }\n' in text
    assert "\n  <- get_weather  call_1\n     sunny\n     28 degrees\n" in text
    assert '\n  Thanks\n  metadata: {"channel": "web"}\n' in text


def test_show_gives_the_last_messages_and_knows_their_tools(run: Run) -> None:
    text = run("show", "trip", "-n", "2").stdout
    assert "#3" not in text
    assert "\n#4 tool" in text
    assert "\n  <- get_weather: rain\n" in text


def test_show_as_json_is_the_whole_session(read: Read, store: SessionStore) -> None:
    store.create_snapshot("trip", "before booking")
    document = read("show", "trip")
    assert [{key: message.get(key) for key in sent} for message, sent in zip(document["messages"], WEATHER, strict=True)] == WEATHER
    assert document["title"] == "Trip to Lisbon"
    assert document["children_ids"] == ["trip-train"]
    assert document["snapshots"][0]["label"] == "before booking"
    assert document["revision"] == store.get_revision("trip")
    assert len(read("show", "trip", "-n", "2")["messages"]) == 2


def test_show_knows_every_vendors_form(run: Run, store: SessionStore) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA" * 100}}
    store.add_messages(
        "forms",
        [
            {"role": "user", "content": [{"type": "text", "text": "Look"}, picture]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm, a tool", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "too dark"}]},
            {"type": "function_call", "call_id": "f1", "name": "lamp", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "f1", "output": "on"},
            {"type": "something_new", "x": 1},
        ],
    )
    text = run("show", "forms").stdout
    for said in (
        "\n  Look\n",
        "\n  [image image/png 300 bytes]\n",
        "\n  (thought, 10 characters)\n",
        '\n  -> look {"at": 1}\n',
        "\n  <- look failed: too dark\n",
        "\n  -> lamp {}\n",
        "\n  <- lamp: on\n",
        "\n  [something_new]\n",
    ):
        assert said in text
    assert "\n  . hm, a tool\n" in run("show", "forms", "--full").stdout


def test_search_finds_best_first(run: Run, read: Read) -> None:
    assert [hit["session_id"] for hit in read("search", "by", "train")] == ["trip-train"]
    assert read("search", "LISBON", "--around", "0")[0]["messages"][0]["content"].startswith("Sunny in Lisbon")
    text = run("search", "by train").stdout
    assert text.startswith('trip-train #6  "By train"')
    assert "\n  And by train?\n" in text
    assert "nothing found" in run("search", "zeppelin").stderr


def test_diff_shows_what_is_shared_and_what_is_not(run: Run, read: Read) -> None:
    text = run("diff", "trip", "trip-train").stdout
    assert text.startswith("6 messages in common; both come from trip\n")
    assert "--- trip: 0 messages of its own\n" in text
    assert "+++ trip-train: 1 message of its own\n#6 user" in text
    document = read("diff", "trip", "trip-train")
    assert (document["common"], document["ancestor"], document["left"]) == (6, "trip", [])
    assert [message["content"] for message in document["right"]] == ["And by train?"]
