"""The demonstration plays from a clone with nothing installed, shows only what it measured, and says so when a promise breaks."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
SCENES = ("REMEMBER", "SURVIVE", "BRANCH", "STAY VALID", "SWAP")

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Show:
    """One whole run of the demonstration."""

    done: subprocess.CompletedProcess[str]
    home: Path
    folder: Path

    def scene(self, name: str) -> str:
        """What was printed from the heading of a scene to the next."""
        found = re.search(rf"^ {name}  .*?(?=^ [A-Z]+[A-Z ]*  |\Z)", self.done.stdout, re.MULTILINE | re.DOTALL)
        assert found, f"no scene {name} in:\n{self.done.stdout}"
        return found[0]


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Show:
    """A run as a new clone makes it: an empty home, no site-packages (-S), output into a pipe."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("left") / "files"
    done = _play("--seconds", "1", "--dir", str(folder), home=home)
    return Show(done, home, folder)


def _play(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(
        [sys.executable, "-S", "-m", "demo", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def _figures(pattern: str, text: str) -> list[int]:
    found = re.search(pattern, text)
    assert found, f"nothing like {pattern!r} in:\n{text}"
    return [int(figure.replace(",", "")) for figure in found.groups()]


def test_every_promise_holds(show: Show) -> None:
    assert show.done.returncode == 0, show.done.stdout + show.done.stderr
    assert show.done.stderr == ""
    assert "5 of 5 promises held" in show.done.stdout
    assert "BROKEN" not in show.done.stdout


def test_the_home_stays_empty(show: Show) -> None:
    assert list(show.home.iterdir()) == []


def test_into_a_pipe_goes_plain_text_of_80_columns(show: Show) -> None:
    assert not re.search(r"[\x1b\r]", show.done.stdout)
    long = [line for line in show.done.stdout.splitlines() if len(line) > 80 and not line.startswith("   D=")]
    assert long == []


def test_remember_shows_its_figures(show: Show) -> None:
    scene = show.scene("REMEMBER")
    processes = re.findall(r"pid (\d+)", scene)
    assert len(set(processes)) == 2
    assert f"kill -9 {processes[0]}" in scene
    assert "Your name is Ada, you live in Lisbon, you eat no nuts." in scene
    assert _figures(r"(\d+) of (\d+) messages outlived the kill", scene) == [4, 4]


def test_survive_shows_its_figures(show: Show) -> None:
    scene = show.scene("SURVIVE")
    kills, turns, lost, split = _figures(r"([\d,]+) kills, ([\d,]+) turns acknowledged, ([\d,]+) lost, ([\d,]+) split", scene)
    assert kills >= 2 * 8 + 2 * 10
    assert turns > 100
    assert (lost, split) == (0, 0)
    acknowledged = _figures(r"turns acknowledged, by the pipe +([\d,]+) +([\d,]+)", scene)
    stored = _figures(r"turns stored, by json and sqlite3 +([\d,]+) +([\d,]+)", scene)
    late = _figures(r"stored, killed before the receipt +([\d,]+) +([\d,]+)", scene)
    assert sum(acknowledged) == turns
    assert [have - extra for have, extra in zip(stored, late, strict=True)] == acknowledged


def test_branch_shows_its_figures(show: Show) -> None:
    scene = show.scene("BRANCH")
    assert re.search(r"\| \* I take a train  rail +\* I take a train  rail +\| \* I take a train  rail", scene)
    assert re.search(r"main  You take a plane\. +main  You did not say\. +main  You take a plane\.", scene)
    assert len(re.findall(r"10 messages in the file", scene)) == 3
    assert re.search(r"8 messages( +\d+\.\d\d ms){3} +0\n", scene)
    assert re.search(r"20,000 messages( +\d+\.\d\d ms){3} +0\n", scene)


def test_stay_valid_shows_its_figures(show: Show) -> None:
    scene = show.scene("STAY VALID")
    assert re.search(r"✗ HTTP 400 +✓ HTTP 200", scene)
    assert "must be a response to" in " ".join(scene.split())
    for api in ("OpenAI", "Anthropic"):
        cuts, slices, windows = _figures(rf"{api}, cut at each of (\d+) places +(\d+) refused +(\d+) refused", scene)
        assert 0 < slices < cuts
        assert windows == 0


def test_swap_shows_its_figures(show: Show) -> None:
    scene = show.scene("SWAP")
    same, answers, stores, lines = _figures(r"(\d+) of (\d+) answers identical on (\d+) stores, one of them (\d+) lines", scene)
    assert same == answers == len(re.findall(r"✓ +✓ +✓", scene))
    assert stores == 3
    assert lines == len(re.findall(r"^   │ ", scene, re.MULTILINE)) <= 20


def test_what_it_says_to_look_at_is_there(show: Show) -> None:
    commands = re.findall(r"^   (\S.*?\$D/\S.*?)  +# (.+)$", show.scene("LOOK"), re.MULTILINE)
    assert len(commands) >= len(SCENES)
    for command, what in commands:
        if shutil.which(command.split()[0]) is None:
            continue  # it says itself which of them are not installed
        done = subprocess.run(["sh", "-c", f"D={shlex.quote(str(show.folder))}; {command}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout, command
        if counted := re.fullmatch(r"([\d,]+) messages", what):
            assert done.stdout.strip() == counted[1].replace(",", "")


def test_the_conversation_can_be_gone_on_with(show: Show) -> None:
    assert "-m demo.chat $D/remember" in show.scene("NEXT")
    done = subprocess.run(
        [sys.executable, "-m", "demo.chat", str(show.folder / "remember"), "--pace", "0"],
        cwd=ROOT,
        input="What is my name?\nWeather in Rome?\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[0].strip() == "Your name is Ada."
    assert re.fullmatch(r"Rome: -?\d+ °C\.", done.stdout.splitlines()[1].strip())


def test_nothing_is_imported_from_outside() -> None:
    for path in DEMO.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert source.startswith('"""'), path
        assert source.count("\n") < 400, path
        for node in ast.walk(ast.parse(source)):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= {"demo", "turnlog", *sys.stdlib_module_names}, path


def test_the_judge_knows_nothing_of_turnlog() -> None:
    for name in ("judge.py", "model.py", "toolturns.py", "audit.py"):
        assert "import turnlog" not in (text := (DEMO / name).read_text(encoding="utf-8"))
        assert "from turnlog" not in text


# What it says when a promise breaks -----------------------------------------------------------------------------------

PLANTED = {
    "a receipt without a store": (
        "survive",
        """
        import demo.storm
        honest = demo.storm.store_turn
        demo.storm.store_turn = lambda store, key, size: key.endswith("7") or honest(store, key, size)
        """,
        r"✗ BROKEN JSON file: [\d,]+ acknowledged turns are lost\.[\s\S]*BROKEN SQLite: [\d,]+ acknowledged turns are lost\.",
    ),
    "turns stored message by message": (
        "survive",
        """
        import demo.storm
        def bit_by_bit(store, key, size):
            return all(store.add_messages(demo.storm.SESSION, [one]) for one in demo.storm.turn_messages(key, size))
        demo.storm.store_turn = bit_by_bit
        """,
        r"BROKEN SQLite: [\d,]+ turns are torn apart\.",
    ),
    "turns stored twice": (
        "survive",
        """
        import demo.storm
        honest = demo.storm.store_turn
        demo.storm.store_turn = lambda *turn: honest(*turn) and honest(*turn)
        """,
        r"BROKEN SQLite: [\d,]+ messages are stored twice\.",
    ),
    "writers that are given errors": (
        "survive",
        """
        import demo.scenes.survive
        import demo.storm
        demo.storm.PATIENCE = 3.0
        def fail(store, key, size):
            raise OSError("disk on fire")
        demo.storm.store_turn = fail
        """,
        r"BROKEN SQLite: nothing was acknowledged\. Writers were given: OSError\.",
    ),
    "a store that forgets what it is told": (
        "remember",
        """
        import sys
        sys.path.insert(0, "planted")
        """,
        r"BROKEN The second process does not know: Ada, Lisbon, nuts\.",
    ),
    "a revert that cannot be undone": (
        "branch",
        """
        from turnlog.session import SessionStore
        SessionStore.undo_revert = lambda self, session_id: True
        """,
        r"BROKEN Undoing the revert did not bring every message back\.",
    ),
    "a window that is a plain slice": (
        "valid",
        """
        from turnlog.session import SessionStore
        def plain(self, session_id, max_messages=None):
            return [message.to_llm_message() for message in self.get_messages(session_id)][-(max_messages or 0):]
        SessionStore.get_chat_history = plain
        """,
        r"BROKEN OpenAI refuses [\d,]+ of turnlog's [\d,]+ windows\.",
    ),
    "a window that gives nothing": (
        "valid",
        """
        from turnlog.session import SessionStore
        honest = SessionStore.get_chat_history
        SessionStore.get_chat_history = lambda self, session_id, limit=None: honest(self, session_id, limit)[-3:]
        """,
        r"BROKEN A window for OpenAI is \d+ messages shorter than asked",
    ),
    "a class that swallows a message": (
        "swap",
        """
        from demo.own_store import MyStore
        honest = MyStore.get_chat_history
        MyStore.get_chat_history = lambda self, *ask: honest(self, *ask)[2:]
        """,
        r"BROKEN Where do I go\?: mine says",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_broken_promise_is_said(fault: str, run_python: RunPython, tmp_path: Path) -> None:
    scene, plant, said = PLANTED[fault]
    # The chat program of REMEMBER runs in processes of its own, which find this where the parent looks first.
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "sitecustomize.py").write_text(
        "from turnlog.session import DefaultSessionStore\nDefaultSessionStore.add_messages = lambda *given: True\n", encoding="utf-8"
    )
    start = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
    code = f"{start}{textwrap.dedent(plant)}\nfrom demo.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    done = run_python("-c", code, "--scene", scene, "--seconds", "1", "--dir", "files", status=1)
    assert re.search(said, done.stdout), done.stdout
    assert "0 of 1 promises held" in done.stdout


def test_a_scene_that_cannot_go_on_is_said_and_the_others_are_played(run_python: RunPython) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from demo.own_store import MyStore
def fail(*given):
    raise OSError("disk on fire")
MyStore.add_message = fail
from demo.__main__ import main
sys.exit(main(["--scene", "swap", "--scene", "branch", "--dir", "files"]))
"""
    done = run_python("-c", code, status=1)
    assert "BROKEN The scene could not go on. OSError: disk on fire" in done.stdout
    assert "1 of 2 promises held" in done.stdout


# The command ----------------------------------------------------------------------------------------------------------


def test_the_help_is_complete(tmp_path: Path) -> None:
    text = _play("--help", home=tmp_path).stdout
    for word in ("--scene", "--dir", "--seconds", "remember", "survive", "branch", "valid", "swap", "NO_COLOR", "exit code"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = _play("--dir", str(tmp_path), home=tmp_path)
    assert done.returncode == 2
    assert "not an empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--scene", "nonsense"]])
def test_a_wrong_call_is_refused(arguments: list[str], tmp_path: Path) -> None:
    assert _play(*arguments, home=tmp_path).returncode == 2


def test_a_terminal_without_unicode_is_served(tmp_path: Path) -> None:
    done = _play("--scene", "branch", "--scene", "valid", "--dir", str(tmp_path / "a b"), home=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "x HTTP 400" in done.stdout
    assert "D='" in done.stdout
    assert '"$D"/branch' in done.stdout
