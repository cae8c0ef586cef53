"""``python -m demo``: plays the scenes, then says what held, what to look at and what to type next. Exit code 1 when a promise broke."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from demo.ending import show_ending
from demo.scenes import Outcome, Scene, Setting, branch, remember, survive, swap, valid
from demo.stage import Stage

SCENES: dict[str, tuple[str, str, Scene]] = {
    "remember": ("REMEMBER", "two processes, one session; the first is killed in mid-answer", remember.play),
    "survive": ("SURVIVE", "eight writers, a kill -9 every 50 ms, no turn lost or torn", survive.play),
    "branch": ("BRANCH", "fork, revert and undo on SQLite; no message is copied", branch.play),
    "valid": ("STAY VALID", "a history cut anywhere is still one that the API takes", valid.play),
    "swap": ("SWAP", "five methods are the whole contract of a store", swap.play),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the scenes that were asked for; 0 when every promise held, 1 when one broke, 2 for a wrong call, 130 after ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.seconds <= 0:
        parser.error("--seconds must be more than 0")
    if options.dir is not None and options.dir.exists() and (not options.dir.is_dir() or any(options.dir.iterdir())):
        parser.error(f"--dir {options.dir} is not an empty folder: name a new one, so that nothing of yours is touched")
    stage = Stage()
    try:
        return _play(stage, options.scene or list(SCENES), _folder(options.dir), options.seconds)
    except KeyboardInterrupt:
        stage.live_end()
        stage.write("\nStopped.\n")
        return 130


def _play(stage: Stage, names: Sequence[str], folder: Path, seconds: float) -> int:
    started = time.monotonic()
    stage.write(f"\n {stage.paint('bold', 'turnlog')} keeps the conversations of LLM agents and bots.\n")
    stage.write(f" {stage.paint('dim', 'Real files, real processes; every figure is measured in this run.')}\n")
    stage.write(f" {stage.paint('dim', 'The model is a stand-in without memory: it knows only the messages it is sent.')}\n")
    stage.beat(0.8)
    outcomes: dict[str, Outcome] = {}
    for place, name in enumerate(names, 1):
        title, what, scene = SCENES[name]
        stage.heading(title, what, f"{place} of {len(names)}")
        outcomes[title] = _play_one(Setting(stage, folder / name, seconds), scene)
        stage.verdict(outcomes[title].broken, outcomes[title].proof)
    show_ending(stage, outcomes, folder, time.monotonic() - started)
    return 1 if any(outcome.broken for outcome in outcomes.values()) else 0


def _play_one(setting: Setting, scene: Scene) -> Outcome:
    setting.folder.mkdir()
    try:
        return scene(setting)
    except Exception as error:  # noqa: BLE001  # a scene that cannot go on is a promise that broke; the others are still played
        setting.stage.live_end()
        traceback.print_exc()
        return Outcome(proof="", broken=[f"The scene could not go on. {type(error).__name__}: {error}"])


def _folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="turnlog-"))
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:<10} {what}" for name, (_, what, _) in SCENES.items())
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Shows in half a minute, on real files and real killed processes, what turnlog keeps.",
        epilog=f"scenes, in this order:\n{lines}\n\nThe exit code is 0 when every promise held and 1 when one broke.\n"
        "Colours: on a terminal, unless NO_COLOR is set. The files stay where the last lines say.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scene", action="append", choices=list(SCENES), metavar="NAME", help="play only this scene; may be given again")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="keep the files in DIR, new or empty (default: a temporary folder)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, metavar="N", help="how long SURVIVE kills, for each of its two stores (default: %(default)g)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
