"""The pytest plugin: one test item for each numbered case.

    import pytest

    @pytest.mark.turnlog_store(MyStore)              # a class with the five methods; full=True for a full store
    def test_my_store(turnlog_case):
        turnlog_case()

The mark takes what ``verify_protocol_store`` and ``verify_store`` take: the factory, and ``full=``, ``level=``, ``only=``, ``seed=``,
``meter=``, ``make_newer=``. Cases that cannot be put to the store are skipped with the reason. Loaded by the entry point ``pytest11``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from turnlog.testing.registry import Case
    from turnlog.testing.runner import Verification

MARK = "turnlog_store"


def pytest_configure(config: pytest.Config) -> None:
    """Announce the mark."""
    config.addinivalue_line("markers", f"{MARK}(factory, full=False, level='quick', only=(), seed=0): verify a store, one item per case")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a marked test one item for each case."""
    if "turnlog_case" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} uses turnlog_case: mark it with @pytest.mark.{MARK}(factory)")
    verification, only = _verification(*mark.args, **mark.kwargs)
    cases = verification.cases(only)
    metafunc.parametrize("_turnlog", [(verification, one) for one in cases], ids=[one.number for one in cases])


def _verification(
    factory: Callable[..., Any],
    *,
    full: bool = False,
    level: Any = "quick",
    only: Any = (),
    seed: int = 0,
    meter: Callable[[], int] | None = None,
    make_newer: Callable[[Any], None] | None = None,
) -> tuple[Verification, Any]:
    # Imported here: pytest loads this file in every project where turnlog is installed.
    from turnlog.testing.runner import Verification
    from turnlog.testing.subject import Subject

    return Verification(Subject(factory, five=not full, meter=meter, make_newer=make_newer), level, seed), only


@pytest.fixture
def _turnlog() -> None:
    """Replaced by the parameters of a marked test."""
    raise pytest.UsageError(f"turnlog_case needs a test that is marked with @pytest.mark.{MARK}(factory)")


@pytest.fixture
def turnlog_case(_turnlog: tuple[Verification, Case]) -> Callable[[], None]:
    """Runs the item's case when called."""
    verification, one = _turnlog

    def run() -> None:
        __tracebackhide__ = True
        outcome = verification.run(one)
        if outcome.status == "not run":
            pytest.skip(outcome.reason)
        if outcome.status == "failed":
            lines = (f"expected:  {outcome.expected}", f"seen:      {outcome.seen}", f"reproduce: {outcome.reproduce}", outcome.trace)
            pytest.fail("\n".join((f"{one.number} {one.title}", *lines)), pytrace=False)

    return run
