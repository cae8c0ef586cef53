"""Making a session older than it is, behind the store's back, so that no case has to wait for one to expire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from turnlog.testing.checks import NotRun, holds
from turnlog.testing.trial import Trial


def age(trial: Trial, session_id: str, seconds: float) -> None:
    """Let the session have begun and changed that much earlier. NotRun where the store has no port behind its back."""
    backend: Any = getattr(trial.raw, "backend", None)
    if not callable(getattr(backend, "put_head", None)):
        raise NotRun("the store has no attribute backend, a port behind its back through which a session could be made older")
    head = trial.loop.run(lambda: backend.get_head(session_id))
    times = {"created_at": head.created_at - seconds, "updated_at": head.updated_at - seconds}
    older = replace(head, counter=head.counter + 1, **times)
    holds(trial.loop.run(lambda: backend.put_head(older, expect=head.revision)), "the port changes the times of a head")


def is_stored(trial: Trial, session_id: str) -> bool:
    """Whether anything is stored under the id, expired or not."""
    backend: Any = trial.raw.backend
    return trial.loop.run(lambda: backend.get_head(session_id)) is not None
