"""The pencil and the arrow of a chat window: edit an earlier question, ask again, and keep every version.

pip install 'turnlog[agent]'
"""

from __future__ import annotations

from itertools import count
from tempfile import TemporaryDirectory

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from turnlog import Agent
from turnlog.session import SqliteSessionStore

_answers = count(1)


def stand_in(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands in for a model, as this must run without a key: it numbers its answers."""
    asked = [part.content for message in messages for part in message.parts if part.part_kind == "user-prompt"]
    return ModelResponse(parts=[TextPart(f"Answer {next(_answers)} to: {asked[-1]}")])


def show(title: str, agent: Agent) -> None:
    """Print a conversation."""
    print(f"\n{title}")
    for index, message in enumerate(agent.chat_history):
        print(f"  {index} {message['role']:9} {message['content']}")


def main(path: str) -> None:
    """Ask, edit, regenerate, revert, undo."""
    with SqliteSessionStore(path) as store:
        # With a key at hand: llm="openai:gpt-6-luna"
        agent = Agent("Assistant", llm=FunctionModel(stand_in), memory={"session_id": "trip", "store": store})
        agent.start("Where should I go in May?")
        agent.start("How do I get there?")
        show("As it was:", agent)

        edited = agent.edit(2, "How do I get there by train?")  # message 2 is the second question
        show("With the second question edited (a fork; the first two messages are shared):", edited)

        again = agent.edit(2, "How do I get there?")  # the same question: regenerate
        show("With the second answer regenerated:", again)

        agent.revert(1)
        show("The first, taken back to its first answer:", agent)
        agent.session.undo()
        show("And back again, as nothing is lost:", agent)

        tree = store.get_session_tree("trip")
        print(f"\nThe tree: {tree['session_id']}, with {len(tree['children'])} forks.")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        main(f"{place}/sessions.sqlite")
