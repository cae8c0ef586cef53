"""tail: the last messages, and with -f those that come, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

import pytest

from tests.cli.conftest import Run, command, variables
from tests.cli.test_reading import Read
from turnlog.cli.following import View
from turnlog.session import InMemorySessionStore, SessionStore, SqliteSessionStore


@contextmanager
def following(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``tail -f`` on a store, ended by Ctrl-C if it still runs."""
    line = command("--store", url, "tail", *arguments, "-f", "--interval", "0.02")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(line, env=variables(), **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(pipe: IO[str] | None, number: int) -> list[str]:
    """The next lines that the process prints."""
    assert pipe is not None
    return [pipe.readline().rstrip("\n") for _ in range(number)]


def test_tail_gives_the_last_messages(run: Run, read: Read) -> None:
    text = run("tail", "trip", "-n", "2").stdout
    assert [line.split("  ")[0] for line in text.splitlines() if line.startswith("#")] == ["#4 tool", "#5 assistant"]
    assert "<- get_weather: rain" in text
    assert [entry["index"] for entry in read("tail", "trip", "-n", "2")] == [4, 5]
    assert read("tail", "trip", "-n", "0") == []
    assert len(read("tail", "trip", "-n", "99")) == 6


def test_follow_prints_what_comes_until_ctrl_c(url: str, store: SessionStore) -> None:
    with following(url, "other", "--json") as process:
        assert json.loads(lines(process.stdout, 1)[0])["content"] == "Hello"
        store.add_messages("other", [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Bye"}])
        seen = [json.loads(line) for line in lines(process.stdout, 2)]
        assert [(entry["index"], entry["content"]) for entry in seen] == [(1, "Hi"), (2, "Bye")]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_follow_prints_for_people_too(url: str, store: SessionStore) -> None:
    with following(url, "other") as process:
        assert lines(process.stdout, 2)[1] == "  Hello"
        store.add_message("other", "assistant", "Hi")
        head, text = lines(process.stdout, 2)
        assert head.startswith("#1 assistant")
        assert text == "  Hi"


def test_follow_goes_on_behind_a_revert(url: str, store: SessionStore) -> None:
    with following(url, "trip", "-n", "1", "--json") as process:
        lines(process.stdout, 1)
        store.revert_to_message("trip", 1)
        assert lines(process.stderr, 1) == ["-- the history was cut to 2 messages --"]
        store.add_message("trip", "user", "Again")
        assert json.loads(lines(process.stdout, 1)[0])["index"] == 2


def test_follow_ends_when_the_session_is_deleted(url: str, store: SessionStore) -> None:
    with following(url, "other") as process:
        lines(process.stdout, 2)
        store.delete_session("other")
        assert process.wait(timeout=30) == 1
        assert lines(process.stderr, 1) == ["error: session 'other' was deleted"]


def test_follow_ends_when_nobody_reads_on(url: str, store: SessionStore) -> None:
    with following(url, "other") as process:
        lines(process.stdout, 2)
        assert process.stdout is not None
        process.stdout.close()
        store.add_message("other", "user", "Is anybody there?")
        assert process.wait(timeout=30) == 1
        assert lines(process.stderr, 1) == [""]


def test_follow_is_not_thrown_off_by_retention() -> None:
    with InMemorySessionStore(max_messages=4) as store:
        store.add_message("s", "user", "0")
        view = View(store, "s")
        seen = view.follow(view.last(9)[1], 0)
        assert next(seen)[1].content == "0"
        for number in range(1, 12):
            store.add_message("s", "user", str(number))
            assert next(seen)[1].content == str(number)


def test_follow_reads_only_what_is_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with SqliteSessionStore(tmp_path / "s.sqlite", durability="process") as store:
        store.add_messages("s", [{"role": "user", "content": str(number)} for number in range(100)])
        view = View(store, "s")
        seen = view.follow(view.last(1)[1], 0)
        next(seen)
        given: list[int] = []
        whole = store.get_messages

        def counted(*arguments: Any) -> Any:
            found = whole(*arguments)
            given.append(len(found))
            return found

        monkeypatch.setattr(store, "get_messages", counted)
        store.add_messages("s", [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
        assert [message.content for _, message in islice(seen, 2)] == ["a", "b"]
        assert max(given) == 3
