"""One conversation, two models: fork it, let each model answer on its own fork, and go on with the better answer.

pip install 'turnlog[agent]'
"""

from __future__ import annotations

from tempfile import TemporaryDirectory

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from turnlog import Agent
from turnlog.session import SqliteSessionStore


def brief(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands in for one model."""
    return ModelResponse(parts=[TextPart("Take the train.")])


def thorough(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands in for another."""
    return ModelResponse(parts=[TextPart("Take the train: three hours, no transfers, and you can work on the way.")])


# With keys at hand: {"luna": "openai:gpt-6-luna", "sonnet": "anthropic:claude-sonnet-5-5"}
MODELS = {"brief": FunctionModel(brief, model_name="brief"), "thorough": FunctionModel(thorough, model_name="thorough")}


def main(path: str) -> None:
    """Ask both, compare, go on."""
    with SqliteSessionStore(path) as store:
        start = Agent("Assistant", llm=MODELS["brief"], memory={"session_id": "trip", "store": store})
        start.start("I am in Porto and want to be in Lisbon tomorrow morning.")

        forks = {}
        for name, model in MODELS.items():
            fork = store.fork_session("trip", title=f"as {name} sees it")  # copies no message
            forks[name] = Agent("Assistant", llm=model, memory={"session_id": fork, "store": store})
            forks[name].start("How do I get there, and why so?")

        difference = store.diff(*(agent.session_id for agent in forks.values()))
        print(f"The forks share {difference.common} messages, and differ in what came after:\n")
        for name, agent in forks.items():
            took = agent.last_turn
            assert took is not None
            print(f"{name:9} {took.output}  ({took.output_tokens} tokens by {took.model})")

        better = max(forks, key=lambda name: len(forks[name].chat_history[-1]["content"]))  # a person's choice, or a judge's
        forks[better].start("Thank you.")
        print(f"\nThe conversation goes on with {better}: {len(forks[better].chat_history)} messages.")
        print(f"The one it came from still has {len(start.chat_history)}.")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        main(f"{place}/sessions.sqlite")
