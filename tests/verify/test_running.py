"""How cases are run and reported: time limits, crashes, the print-out, the command line, the pytest plugin, the state machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.verify.document_store import DocumentStore
from tests.verify.faults_tree import ForkExcludes
from tests.verify.planting import on_sqlite
from turnlog.session import InMemorySessionStore, SqliteSessionStore
from turnlog.testing import verify_protocol_store, verify_store
from turnlog.testing.__main__ import main

Run = Callable[..., subprocess.CompletedProcess[str]]


class Hangs(DocumentStore):
    """Never answers session_exists."""

    def session_exists(self, session_id: str) -> bool:
        threading.Event().wait()
        return True


class SilentElsewhere(SqliteSessionStore):
    """Adds nothing in other processes: it waits for ever."""

    def add_message(self, *args: Any, **kwargs: Any) -> bool:
        if os.environ["SPEAKS"] != str(os.getpid()):
            threading.Event().wait()
        return super().add_message(*args, **kwargs)


class Raises(DocumentStore):
    """Cannot read."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        try:
            raise OSError("the disk is gone")
        except OSError as error:
            raise RuntimeError("cannot read") from error


def test_a_case_that_hangs_is_cut_and_the_others_run() -> None:
    class OnlyExists(Hangs):
        pass

    begun = time.perf_counter()
    report = verify_protocol_store(OnlyExists, only=["1.4", "1.6", "1.7"], time_limit=0.5)
    assert time.perf_counter() - begun < 10
    assert [outcome.status for outcome in report.outcomes if outcome.number == "1.6"] == ["failed"]
    hung = next(outcome for outcome in report.failures if outcome.number == "1.6")
    assert "hangs" in hung.seen
    assert "session_exists" in hung.trace, "the report shows where it hangs"


def test_processes_that_hang_while_they_are_heard_end_with_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEAKS", str(os.getpid()))
    report = verify_store(partial(on_sqlite, SilentElsewhere), only=["3.2.5", "3.2.7"], time_limit=3)
    (hung,) = report.failures
    assert hung.number == "3.2.5"
    assert "hangs" in hung.seen
    assert "hear" in hung.trace
    assert "3.2.7" in {outcome.number for outcome in report.outcomes}, "the next case is run"


def test_races_after_one_that_hangs_are_no_quicker_than_it() -> None:
    usual, seen = sys.getswitchinterval(), []

    class HangsInRaces(DocumentStore):
        def add_message(self, *args: Any, **kwargs: Any) -> bool:
            if (interval := sys.getswitchinterval()) < usual:
                seen.append(interval)
                threading.Event().wait()
            return super().add_message(*args, **kwargs)

    try:
        verify_protocol_store(HangsInRaces, only=["3.2"], time_limit=0.3)
    finally:
        sys.setswitchinterval(usual)
    assert len(seen) > 1
    assert min(seen) == pytest.approx(max(seen))


def test_a_crash_is_a_failure_with_its_trace_and_cause() -> None:
    report = verify_protocol_store(Raises, only=["1.4", "1.5"], seed=5)
    crashed = report.failures[0]
    assert crashed.seen == "RuntimeError: cannot read"
    assert "get_chat_history" in crashed.trace
    assert "OSError: the disk is gone" in crashed.trace
    assert crashed.reproduce == 'verify_protocol_store(Raises, level="quick", only=["1.4"], seed=5)'
    assert len(report.failures) == 2, "all failures are reported"


def test_stop_at_failure_stops() -> None:
    assert len(verify_protocol_store(Raises, only=["1"], stop_at_failure=True).failures) == 1


def test_the_print_out_has_every_case_with_counts_and_how_to_repeat() -> None:
    text = str(verify_protocol_store(Raises, only=["1.1", "1.4", "3.4.1"]))
    assert text.startswith("Raises: five methods, sync, quick level, seed 0")
    assert "ok   1.1     The five methods are there [" in text
    assert "FAIL 1.4     add_message returns True" in text
    assert "  expected:  no error\n  seen:      RuntimeError: cannot read\n" in text
    assert "not run: the factory takes no place" in text
    assert text.splitlines()[-1].startswith("1 passed, 1 failed, 1 not run in ")


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    target = f"{__name__}:Raises"
    assert main(["tests.verify.document_store:DocumentStore", "--only", "1", "-q"]) == 0
    printed = capsys.readouterr()
    assert "five methods, sync" in printed.out
    assert printed.err == ""
    assert main(["turnlog.session:SqliteSessionStore", "--only", "1", "--only", "3.4.1"]) == 0
    printed = capsys.readouterr()
    assert "full store, sync" in printed.out
    assert "passed  3.4.1" in printed.err, "progress goes to standard error"
    assert main([target, "--only", "1.4", "--seed", "3", "-q"]) == 1
    assert f"reproduce: python -m turnlog.testing {target} --level quick --only 1.4 --seed 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["no-colon"], ["no.such.module:Name"], ["json:nothing"], ["json:__name__"], ["x:y", "--store-url", "memory://"]],
    ids=["nothing", "no colon", "no module", "no name", "not callable", "two targets"],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "python -m turnlog.testing: " in capsys.readouterr().err


def test_an_unknown_case_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tests.verify.document_store:DocumentStore", "--only", "9.9"]) == 2
    assert "--list shows them all" in capsys.readouterr().err


def test_store_urls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store-url", "memory://", "--only", "1", "-q"]) == 0
    assert main(["--store-url", "sqlite://{place}/store.db", "--async", "--only", "1", "--only", "3.4.3", "-q"]) == 0
    assert "full store, async" in capsys.readouterr().out


def test_list_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1.1     The five methods are there" in lines
    assert any(line.startswith("3.2.5") and line.endswith("[full store]") for line in lines)
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--level", "--only", "--seed", "--store-url", "exit status"))


PLUGIN_TEST = """
import pytest
from tests.verify.document_store import DocumentStore
from tests.verify.faults_tree import ForkExcludes

class Broken(DocumentStore):
    def clear_session(self, session_id):
        return False

@pytest.mark.turnlog_store(DocumentStore, only=["1", "3.4.1"])
def test_good(turnlog_case):
    turnlog_case()

@pytest.mark.turnlog_store(Broken, only=["1.8", "1.9"])
def test_broken(turnlog_case):
    turnlog_case()
"""


def test_the_plugin_gives_one_item_for_each_case(run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "test_stores.py").write_text(PLUGIN_TEST)
    root = Path(__file__).parents[2]
    paths = {"PYTHONPATH": f"{root / 'src'}:{root}"}
    options = ["-p", "no:cacheprovider", "-rfs", "--color=no", "-q"]
    done = run_python("-m", "pytest", *options, "test_stores.py", status=1, **paths)
    assert "test_broken[1.8]" in done.stdout
    assert "expected:  clear_session: True" in done.stdout
    assert "1 failed, 17 passed, 1 skipped" in done.stdout
    assert "the factory takes no place" in done.stdout


def test_without_hypothesis_the_kit_still_runs_and_says_what_is_missing(run_python: Run) -> None:
    code = """
import sys, json
sys.modules["hypothesis"] = sys.modules["pytest"] = None
from turnlog.testing import verify_store
from turnlog.testing.stateful import state_machine
from turnlog.session import InMemorySessionStore
assert verify_store(InMemorySessionStore, only=["1", "3.0"]).passed
try:
    state_machine(InMemorySessionStore)
except ImportError as error:
    print(json.dumps(str(error)))
"""
    assert "pip install hypothesis" in json.loads(run_python("-c", code).stdout)


def test_the_state_machine_passes_our_store_and_catches_a_fault() -> None:
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    from turnlog.testing.stateful import state_machine

    few = settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    run_state_machine_as_test(state_machine(InMemorySessionStore), settings=few)
    # It is met in what a fork has, or in a fork at an index that is none.
    with pytest.raises(AssertionError, match=r"the history of|expected a MessageIndexError; seen it returned"):
        run_state_machine_as_test(state_machine(ForkExcludes), settings=few)


def test_processes_find_a_factory_in_a_script(run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "verify_mine.py").write_text(
        "from turnlog.session import SqliteSessionStore\n"
        "from turnlog.testing import verify_store\n"
        "def open_mine(place, max_messages=None):\n"
        "    return SqliteSessionStore(place / 'mine.db', max_messages)\n"
        "if __name__ == '__main__':\n"
        "    print(verify_store(open_mine, only=['3.4.3', '3.4.6']))\n"
    )
    assert "2 passed, 0 failed, 0 not run" in run_python("verify_mine.py").stdout


def test_a_factory_that_no_process_can_import_is_said_to_be_so() -> None:
    from turnlog.session import SqliteSessionStore
    from turnlog.testing import verify_store

    report = verify_store(lambda place: SqliteSessionStore(place / "s.db"), only=["3.4.1", "3.4.3"])
    assert [outcome.status for outcome in report.outcomes] == ["passed", "not run"]
    assert "define it at the top of a module" in report.not_run[0].reason


def test_the_kit_needs_nothing_but_the_standard_library(run_python: Run) -> None:
    code = "import sys; before = set(sys.modules); import turnlog.testing, turnlog.testing.__main__; "
    code += "from turnlog.testing.registry import all_cases; all_cases(); "
    code += "print(sorted({n.split('.')[0] for n in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    assert run_python("-c", code).stdout.strip() == "['turnlog']"
