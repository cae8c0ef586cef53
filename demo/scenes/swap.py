"""SWAP: one script on JSON files, on SQLite and on a five-method class, which is shown; the answers are compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from demo.judge import refusal
from demo.model import turn
from demo.own_store import MyStore
from demo.scenes import Outcome, Setting
from demo.stage import Stage
from turnlog.session import DefaultSessionStore, SessionStoreProtocol, SqliteSessionStore, adapt_store

SESSION = "trip"

OpenStore = Callable[[], SessionStoreProtocol]
Line = tuple[str, str]
"""What was asked, what came back."""


def play(setting: Setting) -> Outcome:
    """Show the class, run the script on three stores, compare what they said."""
    stage, folder = setting.stage, setting.folder
    own = folder / "mine"
    own.mkdir()
    stores: dict[str, OpenStore] = {
        "JSON": lambda: DefaultSessionStore(folder),
        "SQLite": lambda: SqliteSessionStore(folder / "trip.sqlite"),
        "mine": lambda: MyStore(own),  # type: ignore[no-untyped-call]  # shown on the screen, where annotations would not fit
    }
    source = [line for line in inspect.getsource(MyStore).splitlines() if line]
    _show_source(stage, source)
    strangers = [name for name, open_store in stores.items() if not isinstance(open_store(), SessionStoreProtocol)]
    transcripts = {name: script(open_store) for name, open_store in stores.items()}
    _show_answers(stage, transcripts)
    model, *others = transcripts.values()
    same = sum(all(other[place] == line for other in others) for place, line in enumerate(model))
    broken = [f"isinstance(store, SessionStoreProtocol) is false for {name}." for name in strangers]
    broken += [
        f"{line[0]}: {name} says {line[1]!r}, JSON says {model[place][1]!r}."
        for name, transcript in transcripts.items()
        for place, line in enumerate(transcript)
        if line != model[place]
    ]
    return Outcome(
        proof=f"{same} of {len(model)} answers identical on {len(stores)} stores, one of them {len(source)} lines",
        broken=broken,
        look=[(f"head -n 2 $D/{folder.name}/mine/{SESSION}", "your own format")],
    )


def script(open_store: OpenStore) -> list[Line]:
    """The script. It knows no store, and opens its store anew for every turn, as another process would."""

    def ask(session: str, text: str) -> str:
        store = adapt_store(open_store())
        messages = turn(store.get_chat_history(session), text)
        store.add_messages(session, messages)
        store.close()
        return str(messages[-1]["content"])

    lines = [(text, ask(SESSION, text)) for text in ("I go to Rome.", "Weather in Rome and Oslo?", "Which is warmer?", "Where do I go?")]
    store = adapt_store(open_store())
    window = store.get_chat_history(SESSION, 7)
    lines.append(("the last 7, cut in a tool turn", f"{len(window)} messages, {refusal(window) or 'HTTP 200'}"))
    fork = store.fork_session(SESSION, 1)
    lines.append(("fork after 2: Which is warmer?", ask(fork, "Which is warmer?")))
    store.clear_session(fork)
    lines.append(("clear it: Where do I go?", ask(fork, "Where do I go?")))
    store.delete_session(fork)
    lines.append(("delete it: does it exist?", str(store.session_exists(fork))))
    store.close()
    return lines


def _show_source(stage: Stage, source: Sequence[str]) -> None:
    for line in source:
        start = line.lstrip().partition(" ")[0]
        painted = line.replace(start, stage.paint("magenta", start), 1) if start in ("class", "def", "return", "with", "if") else line
        stage.line(f"{stage.paint('dim', '│')} {painted}", beat=0.03)
    stage.line(beat=0.8)


def _show_answers(stage: Stage, transcripts: Mapping[str, Sequence[Line]]) -> None:
    widths = (30, 25, 4, 6, 4)
    stage.columns(["adapt_store(store), then", "", *(stage.paint("bold", name) for name in transcripts)], widths)
    model = next(iter(transcripts.values()))
    for place, (asked, said) in enumerate(model):
        same = [lines[place] == (asked, said) for lines in transcripts.values()]
        marks = [" " * ((width - 1) // 2) + stage.mark(one) for one, width in zip(same, widths[2:], strict=True)]
        stage.columns([stage.paint("blue", asked), said, *marks], widths, beat=0.15)
