"""The demonstration: ``python -m demo`` shows in half a minute, on real files and real killed processes, what turnlog keeps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if importlib.util.find_spec("turnlog") is None:
    sys.path.insert(0, str(ROOT / "src"))
