"""The names of the tree-keeping store, where code written for praisonaiagents imports them from."""

from __future__ import annotations

from turnlog.session.opening import get_hierarchical_session_store
from turnlog.session.stores import HierarchicalSessionStore
from turnlog.store.values import SessionSnapshot

__all__ = ["HierarchicalSessionStore", "SessionSnapshot", "get_hierarchical_session_store"]
