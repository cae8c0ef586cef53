"""Every planted fault is caught, and by a case of the promise that it breaks. That the stores they are made of pass is in test_kit."""

from __future__ import annotations

import pytest

from tests.verify.faults import FAULTS, Fault
from turnlog.testing import verify_protocol_store, verify_store


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_the_fault_is_caught(fault: Fault) -> None:
    verify = verify_protocol_store if fault.five else verify_store
    report = verify(fault.factory, only=[fault.breaks], stop_at_failure=True, **fault.options)
    assert report.failures, f"{fault.kind.__doc__} was not caught:\n{report}"
    caught = report.failures[0]
    assert caught.number == fault.breaks or caught.number.startswith(f"{fault.breaks}.")
    assert caught.expected
    assert caught.seen
    assert caught.number in caught.reproduce


def test_there_are_enough_faults_and_each_says_what_is_wrong_with_it() -> None:
    assert len(FAULTS) >= 100
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.kind.__doc__ for fault in FAULTS)
    promises = {".".join(fault.breaks.split(".")[:2]) for fault in FAULTS}
    assert {f"3.{number}" for number in range(14)} <= promises, "every promise is broken by some fault"
