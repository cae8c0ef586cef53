"""Every example runs by itself, as a newcomer would run it, and shows what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TRIED = (
    "agent_with_tools",
    "best_of_64",
    "by_hand",
    "compare_models",
    "console_bot",
    "discord_bot",
    "edit_and_regenerate",
    "redis_in_40_lines",
    "serve_agent",
    "slack_bot",
    "telegram_bot",
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_example(run_python: Run, monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Run an example where no model is configured and no warning passes, and which leaves nothing behind; gives the lines it printed."""
    for name in ("TURNLOG_MODEL", "OPENAI_MODEL_NAME", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(name: str, *arguments: str) -> list[str]:
        done = run_python("-W", "error", str(EXAMPLES / f"{name}.py"), *arguments)
        assert done.stderr == ""
        assert [*home.iterdir(), *tmp_path.iterdir()] == []
        return done.stdout.splitlines()

    return run


def test_every_example_is_tried_here() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(TRIED)


@pytest.mark.parametrize("name", TRIED)
def test_an_example_says_what_it_is_and_how_to_name_a_model(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert re.search(r"^ *pip install ", text, re.MULTILINE)
    assert "gpt-6-luna" in text


def test_agent_with_tools(run_example: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    place = str(tmp_path_factory.mktemp("sessions"))
    lines = run_example("agent_with_tools", place)
    assert "agent: Lisbon 24 °C, Oslo 9 °C" in lines
    # The second agent answers from the results that the first one's tools gave.
    assert "agent: Lisbon is warmer; I looked it up before." in lines
    roles = [line.split()[0] for line in lines[lines.index("Stored:") + 1 : -1]]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "user", "assistant"]
    assert lines[-1].startswith("2 turns, ")

    # Another process really goes on with it: the second run begins where the first stopped.
    assert run_example("agent_with_tools", place)[-1].startswith("4 turns, ")


def test_best_of_64(run_example: Callable[..., list[str]]) -> None:
    forked, best, copied, kept = run_example("best_of_64")
    found = re.fullmatch(r"64 forks of 10,000 messages in \d+ ms, 64 answers in ([\d.]+) s", forked)
    assert found is not None
    # One after another, the answers alone would take 64 times 0.2 s.
    assert float(found[1]) < 64 * 0.2
    assert re.match(r"The best: A slogan, rated \d+ \(try \d+; the worst: \d+\)", best)
    assert copied == "Messages in the file: 10,000 before, 128 more now = 64 questions and 64 answers; none was copied."
    assert kept == "After the others were deleted: 2 more. The kept fork has 10,002 messages."


def test_by_hand(run_example: Callable[..., list[str]]) -> None:
    assert run_example("by_hand") == [
        "That makes 5.",
        "the model did not answer; the history has 4 messages, as before",
        "what had been asked is kept aside: Crash!",
        "You began with: What do 2 and 3 make?",
        "6 messages: ['user', 'assistant', 'tool', 'assistant', 'user', 'assistant']",
    ]


def test_compare_models(run_example: Callable[..., list[str]]) -> None:
    lines = run_example("compare_models")
    assert lines[0] == "The forks share 2 messages, and differ in what came after:"
    assert [line for line in lines if line.endswith("tokens by brief)")]
    assert [line for line in lines if line.endswith("tokens by thorough)")]
    assert lines[-2:] == ["The conversation goes on with thorough: 6 messages.", "The one it came from still has 2."]


def test_edit_and_regenerate(run_example: Callable[..., list[str]]) -> None:
    pages = "\n".join(run_example("edit_and_regenerate")).strip().split("\n\n")
    messages = [[line.split(maxsplit=2)[2] for line in page.splitlines()[1:]] for page in pages[:-1]]
    first = ["Where should I go in May?", "Answer 1 to: Where should I go in May?"]
    before = [*first, "How do I get there?", "Answer 2 to: How do I get there?"]
    by_train = [*first, "How do I get there by train?", "Answer 3 to: How do I get there by train?"]
    again = [*first, "How do I get there?", "Answer 4 to: How do I get there?"]
    assert messages == [before, by_train, again, first, before]
    assert pages[-1] == "The tree: trip, with 2 forks."


def test_redis_in_40_lines(run_example: Callable[..., list[str]], redis_url: str) -> None:
    lines = run_example("redis_in_40_lines", redis_url)
    assert lines[2] == "You said: My name is Alice. / I live in Lisbon. / Who am I?"
    assert lines[3].startswith("6 messages in Redis.")


def test_redis_in_40_lines_says_what_to_start(run_python: Run) -> None:
    done = run_python(str(EXAMPLES / "redis_in_40_lines.py"), status=1)
    assert "redis-server --port 6379" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_agent(run_example: Callable[..., list[str]]) -> None:
    assert run_example("serve_agent") == [
        "alice is told: You are Alice.",
        "after a restart, streamed: You are Alice.",
        "bob is told: I do not know you.",
    ]
