"""The verification kit: puts every promise that can be tried from outside to a store, yours or ours.

    from turnlog.testing import verify_protocol_store, verify_store

    verify_protocol_store(MyStore).raise_if_failed()          # a class with the five methods, sync or async
    print(verify_store(lambda place: MyFullStore(place)))     # a full store; place is a new directory

Needs no pytest; ``turnlog.testing.pytest_plugin`` gives one test item per case, ``python -m turnlog.testing`` prints the report.
"""

from turnlog.testing.report import Outcome, Report, VerificationFailed
from turnlog.testing.runner import verify_protocol_store, verify_store

__all__ = ["Outcome", "Report", "VerificationFailed", "verify_protocol_store", "verify_store"]
