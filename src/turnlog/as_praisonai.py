"""Runs scripts written for praisonaiagents.session on turnlog, and gives the real praisonaiagents a turnlog store."""

from __future__ import annotations

import argparse
import importlib
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import turnlog.session

PACKAGE = "praisonaiagents"
SESSION = f"{PACKAGE}.session"

# Modules of the other package whose names turnlog has; each of them shows all of turnlog.session.
STORES = ("store", "hierarchy", "protocols", "sqlite_store")
# Modules beside them that keep no sessions. Where the package is installed they stay its own: its agents and bots need them.
NEIGHBOURS = ("context", "handoff", "identity", "parts", "provenance", "title", "workspace")

HELP = f"""\
Run a Python program that imports {SESSION}, unchanged, on turnlog: the names come from turnlog.session, the files in
~/.praisonai/sessions are opened and continued in place. The rest of {PACKAGE} stays real where it is installed; where it is not,
{PACKAGE}.session is all there is of it. A name that turnlog lacks raises ImportError.

Programs that this one starts are on their own; in them, call turnlog.as_praisonai.install() before the first import.
"""


class _StandIn(ModuleType):
    """A module that shows the public names of turnlog.session, or, for the package itself, no names at all."""

    def __getattr__(self, name: str) -> Any:
        if self.__name__ != PACKAGE and name in turnlog.session.__all__:
            if _chosen is not None and name in ("get_default_session_store", "get_hierarchical_session_store"):
                return lambda: _chosen
            return getattr(turnlog.session, name)
        if self.__name__ == f"{SESSION}.store" and name == "FileLock" and self.__path__:
            return _own_file_lock(self.__path__[0])
        raise AttributeError(_absent(self.__name__, name))


class _Finder(MetaPathFinder, Loader):
    """Answers for praisonaiagents.session, and for praisonaiagents where it is not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == PACKAGE and PathFinder.find_spec(name) is None:
            return ModuleSpec(name, self, is_package=True)
        parent, _, last = name.rpartition(".")
        if name == SESSION or (parent == SESSION and last in STORES):
            spec = ModuleSpec(name, self, origin=turnlog.session.__file__, is_package=True)
            spec.has_location = True
            real = PathFinder.find_spec(SESSION, path) if name == SESSION else None
            spec.submodule_search_locations = list((real and real.submodule_search_locations) or path or ())
            return spec
        owner = sys.modules.get(parent)
        if isinstance(owner, _StandIn) and not (parent == SESSION and last in NEIGHBOURS and owner.__path__):
            # Also reached by `from praisonaiagents.session import X`, which asks for a module X when there is no name X. Left without
            # its `name`, the error is not taken for an answer to that question and the text arrives.
            raise ModuleNotFoundError(_absent(parent, last))
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _StandIn(spec.name, "turnlog.session under another name." if spec.name != PACKAGE else None)
        vars(module)["__all__"] = [] if spec.name == PACKAGE else turnlog.session.__all__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: the names are looked up when they are asked for."""


_finder = _Finder()
_chosen: Any = None


def install() -> None:
    """Let every later import of praisonaiagents.session in this process find turnlog. Idempotent.

    What was imported from it before keeps what it has.
    """
    if _finder in sys.meta_path:
        return
    sys.meta_path.insert(0, _finder)
    loaded = [name for name in sys.modules if name == SESSION or name.startswith(f"{SESSION}.")]
    kept = {name: sys.modules[name] for name in loaded if name.rpartition(".")[2] in NEIGHBOURS}
    for name in loaded:
        del sys.modules[name]
    if loaded:
        session = importlib.import_module(SESSION)
        for name, module in kept.items():
            sys.modules[name] = module
            setattr(session, name.rpartition(".")[2], module)


def use_store(store: Any = None) -> Any:
    """Make the installed praisonaiagents, its agents and its bots keep their sessions in ``store`` from now on; return that store.

    ``store`` is any turnlog store, or any object with the five methods; None is turnlog's default store. An agent asks for its store
    at its first turn and then keeps it. TypeError for an async store; ModuleNotFoundError where praisonaiagents is not installed, unless
    install() came first: then what stands in for it gives out ``store``.
    """
    global _chosen
    chosen: Any = turnlog.session.get_default_session_store() if store is None else turnlog.session.adapt_store(store)
    if isinstance(chosen, turnlog.session.AsyncSessionStore | turnlog.session.AsyncAdaptedStore):
        raise TypeError(f"{PACKAGE} calls its store without await: pass a sync store, not {type(store).__name__}")
    if isinstance(chosen, turnlog.session.AdaptedStore):
        chosen = _FiveMethods(chosen)
    if _finder not in sys.meta_path:
        # The package returns these two, when they are set, to whoever asks it for a store.
        vars(importlib.import_module(f"{SESSION}.store"))["_default_store"] = chosen
        vars(importlib.import_module(f"{SESSION}.hierarchy"))["_hierarchical_store"] = chosen
    _chosen = chosen
    return chosen


class _FiveMethods:
    """A store with five methods as the package's agents and bots want to see it: a verb it has not is an attribute it has not."""

    def __init__(self, store: turnlog.session.AdaptedStore) -> None:
        self._store = store

    def set_agent_info(self, session_id: str, agent_name: str | None = None, user_id: str | None = None) -> bool:
        """Kept nowhere: five methods have no place for it. An agent drops a store that lacks this verb, and its history with it."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _absent(owner: str, name: str) -> str:
    if owner == PACKAGE:
        return f"{PACKAGE} is not installed and turnlog stands in for {SESSION} only, so there is no {name}: pip install {PACKAGE}"
    return f"{owner} is turnlog.session here, which has no {name}; it has {', '.join(turnlog.session.__all__)}"


def _own_file_lock(folder: str) -> Any:
    """The package's lock on a file, which its memory and settings files need too, from its own source under another name."""
    name = f"{SESSION}._own_store"
    if name not in sys.modules:
        spec = spec_from_file_location(name, os.path.join(folder, "store.py"))
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot read {folder}/store.py of {PACKAGE}")
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name].FileLock


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: ``python -m turnlog.as_praisonai (script | -m module | -c code) [arguments]``, as python itself takes them."""
    parser = argparse.ArgumentParser(
        prog="python -m turnlog.as_praisonai",
        usage="%(prog)s [-h] (script | -m module | -c code) [argument ...]",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rest: Any = argparse.REMAINDER
    parser.add_argument("-m", dest="module", nargs=rest, metavar="module", help="run a module, with the current folder on the path")
    parser.add_argument("-c", dest="code", nargs=rest, metavar="code", help="run the code given as one argument")
    parser.add_argument("script", nargs=rest, help="the file to run and what it is to find in sys.argv[1:]")
    given = parser.parse_args(arguments)
    chosen = given.module or given.code or given.script
    if not chosen:
        parser.error("give a script, -m module or -c code")
    install()
    sys.argv = list(chosen)
    if given.module:
        runpy.run_module(chosen[0], run_name="__main__", alter_sys=True)
    elif given.code:
        sys.argv[0] = "-c"
        _enter("")
        main_module = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(chosen[0], "<string>", "exec"), main_module.__dict__)
    else:
        _enter(os.path.dirname(os.path.realpath(chosen[0])))
        if not os.path.exists(chosen[0]):
            parser.error(f"can't open file {chosen[0]!r}: no such file")
        runpy.run_path(chosen[0], run_name="__main__")


def _enter(folder: str) -> None:
    """Put ``folder`` first on the path, where `python -m` had put the current one."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


if __name__ == "__main__":
    # This file runs as __main__ here; the script must meet the same finder and the same chosen store under its proper name.
    importlib.import_module("turnlog.as_praisonai").main()
