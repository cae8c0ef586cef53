"""STAY VALID: a plain slice of a tool turn that the APIs refuse, next to turnlog's window; then every cut of a long history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from demo.judge import anthropic_refusal, openai_refusal
from demo.model import Refused, answer, turn
from demo.scenes import Outcome, Setting
from demo.stage import Stage, number, wrapped
from demo.toolturns import LARGEST_GROUP, anthropic_history, open_call, openai_history
from turnlog.session import DefaultSessionStore, SessionStore

Message = dict[str, Any]
Judge = Callable[[Sequence[Message]], str | None]

LAST = 4
COLUMN = 36


@dataclass(frozen=True)
class Answer:
    """What the stand-in API gave for a request."""

    status: int
    text: str


@dataclass(frozen=True)
class Sweep:
    """A history cut at every place, by a plain slice and by turnlog."""

    api: str
    cuts: int
    slices_refused: int
    windows_refused: int
    shortest: int
    """The most messages that a window had fewer than asked."""
    strangers: int
    """Windows that are not the end of the history."""


def play(setting: Setting) -> Outcome:
    """One cut in detail, then every cut, judged by the demonstration's own reading of both vendors' rules."""
    stage = setting.stage
    with DefaultSessionStore(setting.folder) as store:
        store.add_messages("weather", turn([], "What is the weather in Rome and Oslo?"))
        store.add_message("weather", "user", "Which is warmer?")
        everything = _everything(store, "weather")
        plain, window = everything[-LAST:], store.get_chat_history("weather", LAST)
        answers = _ask(plain), _ask(window)
        _show_cut(stage, len(everything), (plain, window), answers)
        sweeps = [
            _sweep(store, "OpenAI", openai_history(), openai_refusal),
            _sweep(store, "Anthropic", anthropic_history(), anthropic_refusal),
        ]
        store.add_messages("OpenAI", open_call())
        crashed = openai_refusal(_everything(store, "OpenAI")), openai_refusal(store.get_chat_history("OpenAI"))
    _show_sweeps(stage, sweeps, crashed)
    cuts, refused = sum(sweep.cuts for sweep in sweeps), sum(sweep.slices_refused for sweep in sweeps)
    windows = sum(sweep.windows_refused for sweep in sweeps)
    return Outcome(
        proof=f"of {number(cuts)} cuts the rules refuse {number(refused)} plain slices, {number(windows)} of turnlog's",
        broken=_broken(answers, sweeps, crashed),
        look=[(f"grep tool_call_id $D/{setting.folder.name}/weather.json", "one tool turn")],
    )


def _everything(store: SessionStore, session: str) -> list[Message]:
    return [message.to_llm_message() for message in store.get_messages(session)]


def _ask(messages: Sequence[Message]) -> Answer:
    try:
        return Answer(200, str(answer(messages)["content"]))
    except Refused as refused:
        return Answer(400, str(refused))


def _sweep(store: SessionStore, api: str, history: list[Message], judge: Judge) -> Sweep:
    store.add_messages(api, history)
    cuts = range(1, len(history) + 1)
    windows = [store.get_chat_history(api, cut) for cut in cuts]
    return Sweep(
        api=api,
        cuts=len(cuts),
        slices_refused=sum(judge(history[-cut:]) is not None for cut in cuts),
        windows_refused=sum(judge(window) is not None for window in windows),
        shortest=max(cut - len(window) for cut, window in zip(cuts, windows, strict=True)),
        strangers=sum(window != history[len(history) - len(window) :] for window in windows),
    )


def _show_cut(stage: Stage, total: int, requests: tuple[list[Message], list[Message]], answers: tuple[Answer, Answer]) -> None:
    widths = (COLUMN, COLUMN)
    stage.line(f"Two tool calls looked up Rome and Oslo. The last {LAST} of {total} messages go to")
    stage.line("a stand-in API that holds them to both vendors' rules on tool calls.", beat=0.8)
    stage.line()
    titles = (f"messages[-{LAST}:]", f"store.get_chat_history(id, {LAST})")
    stage.columns([stage.paint("bold", title) for title in titles], widths)
    stage.columns([stage.paint("dim", "─" * COLUMN)] * 2, widths, beat=0.2)
    for place in range(LAST):
        cells = [_cell(stage, request, place - LAST) for request in requests]
        stage.columns(cells, widths, beat=0.2)
    stage.line(beat=0.3)
    stage.columns([_status(stage, one) for one in answers], widths, beat=0.3)
    texts = [wrapped(one.text, COLUMN) for one in answers]
    for place in range(max(map(len, texts))):
        stage.columns([text[place] if place < len(text) else "" for text in texts], widths)
    stage.line(beat=0.8)


def _cell(stage: Stage, request: list[Message], place: int) -> str:
    """The message at ``place`` from the end, in one cell; a dot where the request has none."""
    if len(request) < -place:
        return stage.paint("dim", "·")
    message = request[place]
    style = {"user": "blue", "tool": "magenta"}.get(message["role"], "dim")
    return stage.paint(style, f"{message['role']:<10}") + str(message["content"])


def _status(stage: Stage, given: Answer) -> str:
    return f"{stage.mark(given.status == 200)} " + stage.paint("green" if given.status == 200 else "red", f"HTTP {given.status}")


def _show_sweeps(stage: Stage, sweeps: list[Sweep], crashed: tuple[str | None, str | None]) -> None:
    widths = (36, 16, 20)
    stage.columns(["", "plain slice", "turnlog"], widths, right_from=1)
    for sweep in sweeps:
        row = f"{sweep.api}, cut at each of {number(sweep.cuts)} places"
        refused = f"{stage.count(sweep.windows_refused, wanted=0)} refused"
        stage.columns([row, f"{number(sweep.slices_refused)} refused", refused], widths, right_from=1, beat=0.2)
    verdicts = ["taken" if refusal is None else "refused" for refusal in crashed]
    stage.columns(["a call that a crash left open", *verdicts], widths, right_from=1, beat=0.2)


def _broken(answers: tuple[Answer, Answer], sweeps: list[Sweep], crashed: tuple[str | None, str | None]) -> list[str]:
    broken = []
    if answers[0].status == 200:
        broken.append("The judge took a tool result without its call; it should have refused it.")
    if answers[1].status != 200:
        broken.append(f"turnlog's window of the weather was refused: {answers[1].text}")
    for sweep in sweeps:
        if sweep.windows_refused:
            broken.append(f"{sweep.api} refuses {number(sweep.windows_refused)} of turnlog's {number(sweep.cuts)} windows.")
        if sweep.strangers:
            broken.append(f"{number(sweep.strangers)} windows for {sweep.api} are not the end of the history.")
        if sweep.shortest >= LARGEST_GROUP:
            broken.append(f"A window for {sweep.api} is {sweep.shortest} messages shorter than asked; no tool group is that long.")
    if crashed[1] is not None:
        broken.append(f"turnlog gives out a call that has no result: {crashed[1]}")
    return broken
