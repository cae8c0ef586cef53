"""The JSON files among others: scopes, open files, threads, locks, retries, reading by number."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.backends.conftest import Driven
from tests.backends.json_files import beside, directory, document, locked
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from turnlog.backends.json_file.access import OPEN_FILES
from turnlog.backends.port import Query
from turnlog.errors import ClosedStoreError, CorruptSessionError, LockTimeoutError, StorageError
from turnlog.heads import Stretch
from turnlog.messages import Record


class TestScopes:
    def test_a_session_may_go_and_come_back_within_a_scope(self, json_backend: Driven) -> None:
        json_backend.put_head(a_head(length=1), expect=None, records=records(0, 1))
        with json_backend.together("s"):
            assert json_backend.remove_head("s", "r1") is True
            assert json_backend.get_head("s") is None
            assert json_backend.append("s", records(0, 1), now=1.0, expect=None) is None
            assert json_backend.put_head(a_head(run="r2"), expect=None) is True
            assert json_backend.append("s", records(5, 6), now=1.0, expect=None) is not None
        assert all_ids(json_backend, run="r2") == ["m5"]
        with json_backend.together("s"):
            assert json_backend.remove_head("s", "r2") is True
        assert json_backend.get_head("s") is None

    def test_a_scope_of_a_missing_session_holds_up_nobody(self, json_backend: Driven, root: Path) -> None:
        with json_backend.together("s"):
            other = directory(root, lock_timeout=0.1)
            assert other.put_head(a_head(), expect=None) is True
            other.close()
            assert json_backend.put_head(a_head(run="r2"), expect=None) is False
            assert json_backend.get_head("s").run == "r1"

    def test_nobody_else_changes_a_session_within_a_scope(self, json_backend: Driven, root: Path) -> None:
        json_backend.put_head(a_head(), expect=None)
        other = directory(root, lock_timeout=0.05)
        errors: list[BaseException] = []

        def write(backend: Driven) -> None:
            for verb in (lambda: backend.append("s", records(0, 1), now=1.0, expect=None), lambda: backend.get_head("s")):
                try:
                    verb()
                except LockTimeoutError as error:
                    errors.append(error)

        with json_backend.together("s"):
            for backend in (json_backend, other):
                thread = threading.Thread(target=write, args=(backend,))
                thread.start()
                thread.join()
        assert len(errors) == 4
        assert all_ids(json_backend) == []
        assert other.append("s", records(0, 1), now=1.0, expect=None).messages == 1
        other.close()

    def test_an_error_in_a_scope_gives_the_lock_back(self, json_backend: Driven, root: Path) -> None:
        json_backend.put_head(a_head(), expect=None)
        for inside in (lambda: json_backend.put_head(a_head(length=7), expect="r1.0"), lambda: 1 / 0):
            with pytest.raises((CorruptSessionError, ZeroDivisionError)), json_backend.together("s"):
                inside()
        with locked(root / "s.json"):
            pass
        assert json_backend.get_head("s").length == 0


def files_open(root: Path) -> int:
    """How many files below ``root`` this process has open; what other tests left to be collected does not count."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith(f"{root}/")
    return found


class TestOpenFiles:
    def test_thousands_of_sessions_leave_few_files_open(self, root: Path) -> None:
        backend = directory(root)
        for number in range(1500):
            backend.put_head(a_head(f"s{number}"), expect=None)
            backend.append(f"s{number}", records(0, 1), now=1.0, expect=None)
        for number in range(0, 1500, 7):
            assert all_ids(backend, f"s{number}") == ["m0"]
            assert backend.get_head(f"missing {number}") is None
        assert len(backend.list_heads(Query(), cursor=None, limit=2000).heads) == 1500
        assert 0 < files_open(root) <= 2 * OPEN_FILES + 4
        for number in range(0, 1500, 7):
            backend.remove_head(f"s{number}", "r1")
        backend.close()
        assert files_open(root) == 0

    def test_errors_leave_no_file_open(self, root: Path) -> None:
        backend = directory(root, lock_timeout=0.0)
        backend.put_head(a_head("held"), expect=None)
        (root / "bad.json").write_text("{")
        (root / "list.json").write_text("[1]")
        with locked(root / "held.json"):
            for _ in range(20):
                for name in ("bad", "list", "held"):
                    with pytest.raises(StorageError):
                        backend.append(name, records(0, 1), now=1.0, expect=None)
                backend.list_heads(Query(), cursor=None, limit=10)
        backend.close()
        assert files_open(root) == 0

    def test_after_close_it_says_so(self, json_backend: Driven) -> None:
        json_backend.put_head(a_head(), expect=None)
        json_backend.append("s", records(0, 1), now=1.0, expect=None)
        json_backend.close()
        json_backend.close()
        with pytest.raises(ClosedStoreError):
            json_backend.append("s", records(1, 2), now=1.0, expect=None)

    def test_the_directory_may_be_removed_under_an_open_store(self, json_backend: Driven, root: Path) -> None:
        json_backend.put_head(a_head(), expect=None)
        for each in root.iterdir():
            each.unlink()
        root.rmdir()
        assert json_backend.append("s", records(0, 1), now=1.0, expect=None) is None
        assert json_backend.get_head("s") is None
        assert json_backend.put_head(a_head(), expect=None) is True


class TestThreads:
    def test_eight_threads_and_one_session(self, root: Path) -> None:
        backend = directory(root, lock_timeout=30)
        backend.put_head(a_head(), expect=None)
        run_threads(lambda writer: [backend.append("s", [record(f"{writer}.{n}")], now=1.0, expect=None) for n in range(500)], 8)
        ids = all_ids(backend)
        assert sorted(ids) == sorted(f"{writer}.{n}" for writer in range(8) for n in range(500))
        for writer in range(8):
            assert [each for each in ids if each.startswith(f"{writer}.")] == [f"{writer}.{n}" for n in range(500)]
        assert document(root / "s.json")["message_count"] == 4000
        backend.close()

    def test_eight_threads_and_more_sessions_than_stay_open(self, root: Path) -> None:
        backend = directory(root, lock_timeout=30)
        names = [f"s{number}" for number in range(3 * OPEN_FILES)]
        for name in names:
            backend.put_head(a_head(name), expect=None)

        def write(writer: int) -> None:
            for number in range(500):
                name = names[(number * 7 + writer) % len(names)]
                assert backend.append(name, [record(f"{writer}.{number}")], now=1.0, expect=None) is not None

        run_threads(write, 8)
        assert sum(len(all_ids(backend, name)) for name in names) == 4000
        backend.close()


class TestLocks:
    def test_a_lock_that_stays_is_a_timeout_and_nothing_is_written(self, json_backend: Driven, root: Path) -> None:
        json_backend.put_head(a_head(), expect=None)
        json_backend.append("s", records(0, 1), now=1.0, expect=None)
        before = (root / "s.json").read_bytes()
        verbs: list[Callable[[], object]] = [
            lambda: json_backend.append("s", records(1, 2), now=1.0, expect=None),
            lambda: json_backend.get_head("s"),
            lambda: json_backend.read("s", [Stretch("r1", 0, 1)]),
            lambda: json_backend.put_head(a_head(counter=9), expect="r1.1"),
            lambda: json_backend.put_row("s", "r1", "undo", "k", "1"),
            lambda: json_backend.get_rows("s", "r1", "undo"),
            lambda: json_backend.drop_records("s", "r1", 0, None),
            lambda: json_backend.remove_head("s", "r1"),
        ]
        with locked(root / "s.json"):
            for verb in verbs:
                with pytest.raises(LockTimeoutError) as caught:
                    verb()
                assert isinstance(caught.value, TimeoutError)
            assert (root / "s.json").read_bytes() == before
            assert beside(root / "s.json") == []
        assert json_backend.append("s", records(1, 2), now=1.0, expect=None).messages == 2

    def test_readers_do_not_wait_for_each_other(self, json_backend: Driven, root: Path) -> None:
        json_backend.put_head(a_head(), expect=None)
        with open(root / "s.json.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            assert json_backend.get_head("s") is not None
            with pytest.raises(LockTimeoutError):
                json_backend.append("s", records(0, 1), now=1.0, expect=None)

    def test_a_lock_file_that_was_removed_is_made_again(self, json_backend: Driven, root: Path) -> None:
        json_backend.put_head(a_head(), expect=None)
        json_backend.append("s", records(0, 1), now=1.0, expect=None)
        (root / "s.json.lock").unlink()
        with locked(root / "s.json"), pytest.raises(LockTimeoutError):
            json_backend.append("s", records(1, 2), now=1.0, expect=None)
        assert json_backend.append("s", records(1, 2), now=1.0, expect=None).messages == 2


def test_a_retry_of_what_was_never_synced_is_synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = directory(root, durability="power")
    backend.put_head(a_head(), expect=None)
    backend.append("s", records(0, 1), now=1.0, expect=None)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    assert backend.append("s", records(0, 1), now=1.0, expect=None).known is True
    assert len(synced) == 1
    backend.close()


def test_ids_are_known_over_the_last_1024_messages(root: Path) -> None:
    backend = directory(root)
    backend.put_head(a_head(), expect=None)
    for number in range(0, 3000, 3):
        backend.append("s", records(number, number + 3), now=1.0, expect=None)
    for again in (backend, directory(root)):
        assert again.append("s", records(3000 - 1024, 3000 - 1023), now=1.0, expect=None).known is True
        again.close()


def test_a_message_of_100_kb_among_small_ones(root: Path) -> None:
    backend = directory(root)
    backend.put_head(a_head(), expect=None)
    given: list[Record] = []
    for number in range(40):
        batch = [record(f"{number}.{part}", "ü" * (100_000 if (number, part) in ((7, 1), (39, 0)) else 5)) for part in range(number % 4)]
        given += batch
        backend.append("s", batch, now=1.0, expect=None)
    for again in (backend, directory(root)):
        for start in (0, 3, 10, 15, len(given) - 3, len(given)):
            for stop in (start, start + 1, start + 5, len(given)):
                expected = [each._replace(seq=seq) for seq, each in enumerate(given)][start:stop]
                assert again.read("s", [Stretch("r1", start, stop)]) == expected
        again.close()
