"""What is shipped: one package, typed, without dependencies, and no top-level package of another project."""

from __future__ import annotations

import email
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_turnlog_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        facts = f"turnlog-{path.name.split('-')[1]}.dist-info"
        metadata = email.message_from_bytes(wheel.read(f"{facts}/METADATA"))
        entry_points = wheel.read(f"{facts}/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"turnlog", facts}
    sources = {str(each.relative_to(ROOT / "src")) for each in (ROOT / "src" / "turnlog").rglob("*.py")}
    assert {name for name in names if name.startswith("turnlog/")} == sources | {"turnlog/py.typed"}
    assert f"{facts}/licenses/LICENSE" in names
    assert [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each] == []
    assert metadata["Requires-Python"] == ">=3.11"
    assert "[pytest11]\nturnlog = turnlog.testing.pytest_plugin" in entry_points
