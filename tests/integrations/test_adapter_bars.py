"""The bars on adapters measure something, at a tiny size; how long it takes is not judged here."""

from __future__ import annotations

import io
from pathlib import Path

from bench.adapters import adapter_bars
from bench.plan import Plan, Progress
from bench.report import bar_line


def test_every_adapter_is_measured(tmp_path: Path) -> None:
    bars = list(adapter_bars(Plan(scratch=tmp_path, progress=Progress(io.StringIO()), rounds=2)))
    assert {bar.group for bar in bars} == {"openai-agents", "pydantic-ai"}
    assert len({bar.name for bar in bars}) == len(bars)
    assert all(0 < bar.low <= bar.value <= bar.high and len(bar_line(bar)) < 140 for bar in bars)
