"""A stand-in for a chat model: no key, no memory; it answers only from the messages it is sent, and refuses what the APIs refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from demo.judge import refusal

Message = dict[str, Any]

WEATHER = re.compile(r"weather in ([^?.!]+)", re.IGNORECASE)
DEGREES = re.compile(r"(\w+): (-?\d+) °C")


class Refused(Exception):
    """HTTP 400, with the text that the API gives."""


def answer(messages: Sequence[Message]) -> Message:
    """The model's next message. Raises Refused for a request that no API takes."""
    if text := refusal(messages):
        raise Refused(text)
    last = messages[-1]
    if last["role"] == "tool":
        return _say(", ".join(_results(messages)) + ".")
    question = str(last["content"])
    if cities := WEATHER.search(question):
        return _call_weather(re.split(r",| and ", cities[1]), len(messages))
    return _say(_reply(question, messages))


def turn(history: Sequence[Message], text: str) -> list[Message]:
    """A whole turn on top of ``history``: what the user says, the model's tool calls with their results, and its answer."""
    messages = [{"role": "user", "content": text}]
    while True:
        messages.append(answer([*history, *messages]))
        if "tool_calls" not in messages[-1]:
            return messages
        messages += run_tools(messages[-1])


def _reply(question: str, messages: Sequence[Message]) -> str:
    if "warmer" in question.lower():
        degrees = {name: int(value) for message in messages for name, value in DEGREES.findall(str(message.get("content")))}
        return f"{max(degrees, key=lambda name: degrees[name])} is warmer." if degrees else "I have seen no degrees."
    known = _facts(messages)
    if "know about me" in question.lower():
        return _sentence(list(known.values())) if known else "Nothing. You have told me nothing yet."
    if asked := re.search(r"\b(?:do|am) I (\w+)|\bis my (\w+)", question, re.IGNORECASE):
        fact = known.get((asked[1] or asked[2]).lower())
        return _sentence([fact]) if fact else "You did not say."
    told = list(_facts([messages[-1]]).values())
    return f"Noted: {', '.join(told)}." if told else "Tell me about yourself: your name is …, you live in …"


def _facts(messages: Sequence[Message]) -> dict[str, str]:
    """What the user said of himself in these messages, the latest word on each thing."""
    known: dict[str, str] = {}
    for message in messages:
        if message["role"] != "user" or not isinstance(message["content"], str):
            continue
        for clause in re.split(r"[.,;!]| and (?=i |my )", message["content"], flags=re.IGNORECASE):
            words = clause.strip()
            if "?" in words:
                continue
            if found := re.fullmatch(r"my (\w+) is (.+)", words, re.IGNORECASE):
                known[found[1].lower()] = f"your {found[1]} is {found[2]}"
            elif found := re.fullmatch(r"i(?: am|'m) (\w+)(.*)", words, re.IGNORECASE):
                known[found[1].lower()] = f"you are {found[1]}{found[2]}"
            elif found := re.fullmatch(r"i (\w+) (.+)", words, re.IGNORECASE):
                known[found[1].lower()] = f"you {found[1]} {found[2]}"
    return known


def _sentence(facts: list[str]) -> str:
    text = ", ".join(facts)
    return f"{text[0].upper()}{text[1:]}."


def _say(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _call_weather(cities: list[str], at: int) -> Message:
    calls = [
        {"id": f"call_{at}_{place}", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city.strip()})}}
        for place, city in enumerate(cities)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _results(messages: Sequence[Message]) -> list[str]:
    """The tool results at the end of the messages, in order."""
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        found.insert(0, str(message["content"]))
    return found


def weather(city: str) -> str:
    """The tool that the model calls: the same made-up degrees for the same city, every time."""
    return f"{city}: {sum(city.encode()) % 35 - 2} °C"


def run_tools(call: Message) -> list[Message]:
    """A tool message for each call of the model's message."""
    return [
        {"role": "tool", "tool_call_id": each["id"], "content": weather(json.loads(each["function"]["arguments"])["city"])}
        for each in call["tool_calls"]
    ]
