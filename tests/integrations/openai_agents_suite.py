"""Runs openai-agents' own tests on TurnlogSession: ``python tests/integrations/openai_agents_suite.py`` in the environment of `make test`.

Downloads the source distribution of the installed version, and what its tests need, to a temporary folder; then runs every test file that
makes a SQLiteSession, with suite_swap.py in its place. Ends with 0 if exactly the tests named here fail, each for its reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
NEEDS = ("pytest-asyncio", "pytest-mock", "inline-snapshot", "executing", "asttokens", "httpx", "httpcore", "h11")

INSIDE = "looks at the tables, connections, locks or private methods of SQLiteSession itself"
ATOMIC = "needs the private replacement of a history's end that only the framework's own stores have; any other Session fails it too"
VALID = "wants what no API takes handed out raw: the result of a call beyond the limit, or reasoning without what it led to"
TYPED = "names SQLiteSession's own error; turnlog's is InvalidMessageError, and an empty list is no reason for one"
EXPECTED = {
    "test_sqlite_session_close_closes_worker_thread_connections": INSIDE,
    "test_sqlite_session_reaps_connections_from_exited_worker_threads": INSIDE,
    "test_sqlite_session_closes_retired_connections_before_the_next_allocation": INSIDE,
    "test_sqlite_session_keeps_connections_of_live_worker_threads": INSIDE,
    "test_sqlite_session_pop_item_skips_corrupt_most_recent": INSIDE,
    "test_sqlite_session_pop_item_returns_none_after_dropping_only_corrupt_rows": INSIDE,
    "test_sqlite_session_get_items_limit_skips_corrupt_newest_rows": INSIDE,
    "test_sqlite_session_get_items_session_settings_limit_skips_corrupt_rows": INSIDE,
    "test_sqlite_session_file_lock_is_shared_across_instances": INSIDE,
    "test_sqlite_session_failed_clear_session_rolls_back": INSIDE,
    "test_sqlite_session_failed_pop_item_releases_write_lock": INSIDE,
    "test_sqlite_session_rollback_failure_evicts_connection": INSIDE,
    "test_sqlite_session_close_retries_quarantined_connection": INSIDE,
    "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome": INSIDE,
    "test_settled_pop_failure_invalidates_response_chain": INSIDE,
    "test_settled_clear_failure_invalidates_response_chain": INSIDE,
    "test_handoff_resume_after_cancelled_compaction_commits": INSIDE,
    "test_encrypted_session_pop_item": INSIDE,
    "test_encrypted_session_pop_expired": INSIDE,
    "test_encrypted_session_pop_mixed_expired_valid": INSIDE,
    "test_encrypted_pop_wrong_key_preserves_recoverable_history": INSIDE,
    "test_encrypted_pop_wrong_key_preserves_row_identity": INSIDE,
    "test_encrypted_pop_rechecks_authentication_after_expired_tail": INSIDE,
    "test_encrypted_pop_authentication_is_atomic_with_concurrent_mutations": INSIDE,
    "test_encrypted_pop_cancellation_waits_for_authentication_rollback": INSIDE,
    "test_encrypted_pop_skips_plaintext_with_inherited_sqlite_behavior": INSIDE,
    "test_encrypted_compaction_skips_unencrypted_stored_history": ATOMIC,
    "test_backend_read_limit_cannot_hide_retained_history_from_compaction": ATOMIC,
    "test_automatic_compaction_does_not_reload_unbounded_hidden_history": ATOMIC,
    "test_expired_read_overhead_does_not_authorize_hidden_history": ATOMIC,
    "test_automatic_compaction_rollback_budget": ATOMIC,
    "test_session_limit_drops_unmatched_history_function_call_output": VALID,
    "test_omit_policy_preserves_model_visible_reasoning_ids": VALID,
    "test_sqlite_session_closed_rejects_empty_add_items": TYPED,
    "test_sqlite_session_failed_add_items_releases_write_lock": TYPED,
}


def main() -> int:
    """Download, run, compare."""
    with tempfile.TemporaryDirectory(prefix="openai-agents-") as name:
        folder = Path(name)
        tests = _downloaded(folder)
        results = _run(tests, folder)
    counts = Counter(result["outcome"] for result in results)
    print(f"{len(results)} tests made a session: {counts['passed']} passed, {counts['failed']} failed")
    failed = [result for result in results if result["outcome"] == "failed"]
    for reason, number in Counter(EXPECTED.get(_function(each), "") for each in failed).items():
        print(f"  {number} not applicable: {reason}" if reason else f"  {number} NOT EXPECTED to fail:")
    surprises = [each for each in failed if _function(each) not in EXPECTED]
    for each in surprises:
        print(f"    {each['test']}: {each['why']}")
    gone = sorted(set(EXPECTED) - {_function(each) for each in failed})
    if gone:
        print(f"  expected to fail, and did not: {', '.join(gone)}")
    return 1 if surprises or gone or counts["passed"] < 200 else 0


def _downloaded(folder: Path) -> Path:
    wanted = f"openai-agents=={version('openai-agents')}"
    _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), wanted)
    _pip("install", "--no-deps", "--target", str(folder / "needs"), *NEEDS)
    with tarfile.open(next(folder.glob("openai_agents-*.tar.gz"))) as archive:
        archive.extractall(folder / "source", filter="data")
    return next((folder / "source").iterdir())


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def _run(tests: Path, folder: Path) -> list[dict[str, str]]:
    files = sorted(path for path in (tests / "tests").glob("**/test_*.py") if "SQLiteSession(" in path.read_text(encoding="utf-8"))
    # Those that test another kind of session, or nothing of sessions, stay out.
    chosen = [path for path in files if not {"extensions", "sandbox", "tracing"} & set(path.parts)]
    chosen.append(tests / "tests" / "extensions" / "memory" / "test_encrypt_session.py")
    report = folder / "report.jsonl"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTHONPATH": os.pathsep.join(map(str, (SOURCE, HERE, folder / "needs"))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SWAP_REPORT": str(report),
        "HOME": str(folder),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--no-header",
        "--tb=no",
        "-p",
        "suite_swap",
        "-p",
        "no:turnlog",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run([*command, *map(str, chosen)], cwd=tests, env=environment, capture_output=True, text=True, check=False)
    if not report.exists():
        raise SystemExit(f"the tests did not run:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    print(done.stdout.strip().splitlines()[-1])
    return [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]


def _function(result: dict[str, str]) -> str:
    return result["test"].rpartition("::")[2].partition("[")[0]


if __name__ == "__main__":
    sys.exit(main())
