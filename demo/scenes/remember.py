"""REMEMBER: a chat program is killed in the middle of an answer; another process goes on with the session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo import ROOT
from demo.chat import SESSION
from demo.model import answer
from demo.scenes import Outcome, Setting
from demo.stage import Stage, pad

TOLD = ("My name is Ada and I live in Lisbon.", "I eat no nuts.")
ASKED = "What do you know about me?"
MUST_KNOW = ("Ada", "Lisbon", "nuts")
WORDS_BEFORE_THE_KILL = 6
WHO = 13
"""Columns for who is talking."""


def play(setting: Setting) -> Outcome:
    """Two processes, one session, the first killed with -9."""
    stage, path = setting.stage, setting.folder / f"{SESSION}.json"
    with Chat(stage, setting.folder) as first:
        for text in TOLD:
            first.say(text)
        half = first.say(ASKED, words=WORDS_BEFORE_THE_KILL)
        first.kill()
    stage.line(beat=0.6)
    with Chat(stage, setting.folder) as second:
        known = second.say(ASKED)
    told_nothing = str(answer([{"role": "user", "content": ASKED}])["content"])
    stage.line()
    stage.line(f"{pad('no store', WHO)}{stage.paint('dim', 'model')}  {told_nothing}", beat=0.4)

    stored: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["messages"] if path.exists() else []
    before = len(stored) - 2 * second.acknowledged
    broken = []
    if before < 2 * first.acknowledged:
        broken.append(f"{2 * first.acknowledged} messages were acknowledged before the kill, {max(0, before)} of them are stored.")
    if [message["role"] for message in stored] != ["user", "assistant"] * (len(stored) // 2):
        broken.append("A turn is not whole: questions and answers do not alternate in the file.")
    if half in [message["content"] for message in stored]:
        broken.append("Half an answer was stored.")
    if missing := [word for word in MUST_KNOW if word not in known]:
        broken.append(f"The second process does not know: {', '.join(missing)}. It said: {known}")
    if leaked := [word for word in MUST_KNOW if word in told_nothing]:
        broken.append(f"The stand-in model cheats: without a session it knows {', '.join(leaked)}.")
    return Outcome(
        proof=f"{before} of {2 * first.acknowledged} messages outlived the kill; the next process knew them",
        broken=broken,
        look=[(f"cat $D/{setting.folder.name}/{path.name}", "her talk, JSON")],
    )


class Chat:
    """``python -m demo.chat`` in a process of its own, heard word by word."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        path = os.pathsep.join([str(ROOT), *(place for place in sys.path if place)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo.chat", str(folder)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._who = stage.paint("yellow", f"pid {self._process.pid}")
        self.acknowledged = 0
        """Turns whose answer was ended by a line end, which the program prints when the turn is stored."""

    def say(self, text: str, words: int | None = None) -> str:
        """Type a line and show the answer as it comes; gives the answer, or its first ``words`` words."""
        stage = self._stage
        stage.line(f"{pad(self._who, WHO)}{stage.paint('blue', 'you')}    {text}")
        self._who = ""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        stage.write(f"   {' ' * WHO}{stage.paint('dim', 'model')}  ")
        heard: list[str] = []
        while len(heard) != words:
            word, end = self._word()
            if word:
                stage.write(f" {word}" if heard else word)
                heard.append(word)
            if end:
                break
        if words is None:
            stage.write("\n")
        return " ".join(heard)

    def kill(self) -> None:
        """Kill the process with -9 and count what it had acknowledged until then."""
        self._process.kill()
        self._process.wait()
        stage = self._stage
        stage.write(f"  {stage.paint('red', f'✗ kill -9 {self._process.pid}')}\n")
        assert self._process.stdout is not None
        self.acknowledged += self._process.stdout.read().count(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self._process.stdin is not None:
            self._process.stdin.close()
        else:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _word(self) -> tuple[str, bool]:
        """The next word, and whether it is the end of the answer."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        letters = b""
        while (letter := self._process.stdout.read(1)) not in (b" ", b"\n"):
            if letter == b"":
                complaint = self._process.stderr.read().decode(errors="replace").strip().splitlines()
                raise RuntimeError(f"the chat program ended by itself: {complaint[-1] if complaint else 'it said nothing'}")
            letters += letter
        self.acknowledged += letter == b"\n"
        return letters.decode(), letter == b"\n"
