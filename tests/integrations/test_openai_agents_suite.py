"""openai-agents' own session tests on TurnlogSession; they are downloaded, so this is no part of the usual run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_frameworks_own_tests() -> None:
    script = Path(__file__).parent / "openai_agents_suite.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
