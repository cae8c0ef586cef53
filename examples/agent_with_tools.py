"""An agent with tools that goes on where another process stopped: the calls and their results are part of what is remembered.

pip install 'turnlog[agent]'
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from turnlog import Agent


def temperature(city: str) -> int:
    """The temperature in a city, in degrees Celsius."""
    return {"Lisbon": 24, "Oslo": 9}[city]


def stand_in(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands in for a model, as this must run without a key: it calls the tool for two cities at once, unless it knows the answer."""
    results = {
        part.tool_call_id: int(str(part.content)) for message in messages for part in message.parts if part.part_kind == "tool-return"
    }
    calls = [part for message in messages for part in message.parts if part.part_kind == "tool-call"]
    if not results:
        return ModelResponse(parts=[ToolCallPart(info.function_tools[0].name, {"city": city}) for city in ("Lisbon", "Oslo")])
    known = {call.args_as_dict()["city"]: results[call.tool_call_id] for call in calls}
    question = [part.content for message in messages for part in message.parts if part.part_kind == "user-prompt"][-1]
    if "warmer" in question:
        return ModelResponse(parts=[TextPart(f"{max(known, key=known.__getitem__)} is warmer; I looked it up before.")])
    return ModelResponse(parts=[TextPart(", ".join(f"{city} {degrees} °C" for city, degrees in known.items()))])


def travel_agent(store: str) -> Agent:
    """The agent, as any process makes it. With a key at hand: llm="openai:gpt-6-luna"."""
    memory = {"session_id": "trip", "user_id": "alice", "store": store}
    return Agent("Travel agent", "Answer briefly.", llm=FunctionModel(stand_in), tools=[temperature], memory=memory)


def main(directory: Path) -> None:
    """Two agents, one conversation."""
    store = f"sqlite://{directory.resolve()}/sessions.sqlite"
    first = travel_agent(store)
    print("alice:", question := "How warm is it in Lisbon, and how warm in Oslo?")
    print("agent:", first.start(question))

    second = travel_agent(store)  # as another process would, tomorrow
    print("alice:", question := "Which one is warmer?")
    print("agent:", second.start(question))

    print("\nStored:")
    for message in second.session.messages():
        calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.tool_calls or []]
        print(f"  {message.role:9} {message.content or ' '.join(calls)}")
    usage = second.session.usage()
    print(f"{usage.turns} turns, {usage.input_tokens} tokens in, {usage.output_tokens} out, in {usage.seconds:.2f} s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as place:
            main(Path(place))
