"""Random turns with all that goes wrong: the model's API refuses no request, and no acknowledged turn is lost, doubled or split."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.agent.api_client import ModelApi
from tests.agent.conftest import STORES, Start
from tests.agent.processes import AgentProcess, Nursery
from tests.agent.storm import WORKERS, Storm


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_random_turns(kind: str, start_on: Start, tmp_path: Path) -> None:
    storm = Storm(lambda: start_on(kind), turns=50, seed=1)
    storm.run()
    storm.check(start_on(kind).ask("history"))
    assert len(storm.acknowledged) > 20, storm.errors


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_a_thousand_random_turns(kind: str, api: ModelApi, nursery: Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total: dict[str, Any] = {"acknowledged": 0, "resumed": 0, "killed": 0, "requests": 0}
    began = time.monotonic()
    for seed in range(10):
        place = tmp_path / str(seed)
        place.mkdir()
        begun: list[AgentProcess] = []

        def start(place: Path = place, begun: list[AgentProcess] = begun) -> AgentProcess:
            begun.append(AgentProcess(nursery, api.url, kind, place))
            return begun[-1]

        storm = Storm(start, turns=100, seed=seed + 100)
        storm.run()
        storm.check(STORES[kind](place).get_chat_history("chat"))
        for process in begun:
            process.close()
        log = api.log()
        assert log["refused"] == []
        total["requests"] += len(log["requests"])
        total["acknowledged"] += len(storm.acknowledged)
        total["resumed"] += storm.resumed
        total["killed"] += storm.counts["kill"]
        api.forget()
    with capsys.disabled():
        print(f"\n{kind}: 1000 random turns by {WORKERS} agents in {time.monotonic() - began:.0f} s: {total}")
    assert total["acknowledged"] > 500
