"""The Redis store of the example keeps what five methods can keep, on a real server, and is as short as it says."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from redis import Redis

from turnlog.session import SessionStoreProtocol
from turnlog.testing import verify_protocol_store

EXAMPLE = Path(__file__).parents[2] / "examples" / "redis_in_40_lines.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("redis_in_40_lines", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh(example: ModuleType, redis_url: str) -> Iterator[Callable[[], Any]]:
    """Makes stores on an empty server."""
    with ExitStack() as clients:

        def make() -> Any:
            redis = clients.enter_context(Redis.from_url(redis_url))
            redis.flushdb()
            return example.RedisStore(redis)

        yield make


def test_it_is_forty_lines_and_has_no_base(example: ModuleType) -> None:
    [store] = [node for node in ast.parse(EXAMPLE.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    assert store.end_lineno is not None
    assert store.end_lineno - store.lineno < 40
    assert example.RedisStore.__bases__ == (object,)


def test_it_keeps_what_five_methods_can_keep(fresh: Callable[[], Any]) -> None:
    assert isinstance(fresh(), SessionStoreProtocol)
    report = verify_protocol_store(fresh)
    assert report.passed, report


def test_the_kit_sees_a_fault_through_it(fresh: Callable[[], Any]) -> None:
    def forgetful() -> Any:
        store = fresh()
        store.clear_session = store.delete_session  # a cleared session must still be there
        return store

    assert not verify_protocol_store(forgetful, only=["1.8"]).passed
