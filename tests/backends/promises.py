"""The kit, put to stores that keep nothing in files: its parts, and why a case of it may not be run there."""

from __future__ import annotations

from typing import Any

import pytest

from turnlog.testing import verify_store
from turnlog.testing.registry import Level

EVERY_PART = pytest.mark.parametrize(
    "only",
    [["2"], ["3.0", "3.1", "3.2"], ["3.3", "3.4", "3.5", "3.6", "3.7"], ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]],
    ids=lambda part: part[0],
)
LIMIT = 1800.0
"""Seconds that a case may take at the full level, whatever else the machine does: a hundred walks need minutes of a processor."""
NO_NEWER = "no make_newer was given, which would write what a newer version writes"
ALLOWED = {
    "the store is sync",
    "the store keeps no files in its place",
    "the store makes no directories: it opens only in one that is there",
    "the store syncs nothing by os.fsync: it says that it survives kill -9 only, or its engine syncs for it",
}


def check_promises(factory: Any, level: Level, **options: Any) -> None:
    """All that was tried is kept, and what was not tried could not be; ``options`` as of ``verify_store``."""
    report = verify_store(factory, level=level, time_limit=LIMIT if level == "full" else None, **options)
    report.raise_if_failed()
    reasons = {outcome.reason for outcome in report.not_run}
    assert reasons <= ALLOWED | (set() if "make_newer" in options else {NO_NEWER})
