"""The verbs of the store hold over an engine without transactions that lets all others go first at each of its steps."""

from __future__ import annotations

import pytest

from tests.verify.waiting_store import AsyncWaitingSessionStore
from turnlog.testing import verify_store

RACES = ["2.19", "2.21", "2.22", "2.46", "2.47", "2.49", "2.60", "2.76", "2.77", "2.78", "2.79", "2.84", "2.86"]
"""What tasks do to each other."""
CUTS = ["2.62", "2.63", "2.64", "2.65", "2.66"]
"""What becomes of calls that are cancelled between any two steps."""


@pytest.mark.parametrize("only", [RACES, CUTS], ids=["races", "cuts"])
def test_every_interleaving_that_the_kit_meets_is_right(only: list[str]) -> None:
    report = verify_store(AsyncWaitingSessionStore, only=only)
    report.raise_if_failed()
    assert report.not_run == []
