"""Imports run one way only, files stay short, and every file and public name says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layers.imports import BASE, PURE, violations

SOURCE = Path(__file__).parents[2] / "src" / "turnlog"


def test_the_house_keeps_its_order() -> None:
    assert (SOURCE / "errors.py").exists()
    assert violations(SOURCE) == []


def test_every_area_of_the_design_is_there() -> None:
    areas = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert BASE | PURE | {"backends", "store", "session", "testing", "as_praisonai"} <= areas


PLANTED = {
    "up from the errors": ("errors.py", "from turnlog.messages import Record", "imports turnlog.messages"),
    "up from a backend": ("backends/disk.py", "import turnlog.store", "imports turnlog.store"),
    "a backend that knows of trees": ("backends/disk.py", "from turnlog import tree", "imports turnlog.tree"),
    "inside a function": ("store/core.py", "def _late():\n    from turnlog.session import open_store", "imports turnlog.session"),
    "inside a method": ("tree.py", "class _T:\n    def go(self):\n        import turnlog.store.core", "imports turnlog.store.core"),
    "for types only": (
        "heads.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from turnlog.backends.port import Backend",
        "imports turnlog.backends.port",
    ),
    "by a relative import": ("backends/disk.py", "from ..session import opening", "imports turnlog.session"),
    "by a relative import of the top": ("backends/disk.py", "from .. import session", "imports turnlog.session"),
    "by name at run time": ("store/core.py", "import importlib\nimportlib.import_module('turnlog.testing')", "imports turnlog.testing"),
    "a session that leans on its tests": ("session/opening.py", "import turnlog.testing.cases", "imports turnlog.testing.cases"),
    "a package from outside": ("store/core.py", "def _late():\n    import requests", "imports requests"),
    "an event loop in a backend": ("backends/disk.py", "import asyncio", "imports asyncio"),
    "a pure module that reads files": ("trim.py", "from pathlib import Path", "imports pathlib"),
    "a file nobody placed": ("helpers.py", "", "helpers has no place"),
    "a long file": ("store/core.py", "\n" * 401, "404 lines"),
    "a silent class": ("store/core.py", "class Loud:\n    x = 1", "Loud is public and has no docstring"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_violation_is_found(fault: str, tmp_path: Path) -> None:
    place, code, said = PLANTED[fault]
    path = tmp_path / "turnlog" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'"""A file of the planted tree."""\n\n{code}\n', encoding="utf-8")
    found = violations(tmp_path / "turnlog")
    assert len(found) == 1
    assert found[0].startswith(place)
    assert said in found[0]


def test_a_file_that_does_not_say_what_it_is_is_found(tmp_path: Path) -> None:
    (tmp_path / "errors.py").write_text("import os\n", encoding="utf-8")
    assert violations(tmp_path) == ["errors.py:1: the first line does not say what lives in the file"]


def test_a_clean_tree_passes(tmp_path: Path) -> None:
    imports = ["import json", "from turnlog import tree", "from turnlog.backends.port import Backend", "from . import other"]
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "core.py").write_text("\n".join(['"""Core."""', "", *imports, ""]), encoding="utf-8")
    assert violations(tmp_path) == []
