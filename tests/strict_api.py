"""A judge as strict as the vendors' APIs: which documented rule on tool calls a request's messages break. Shares no code with the package.

Sources, each named in RULES: OpenAI's function calling and reasoning guides and its chat and responses references; Anthropic's
"How to implement tool use" and Messages reference. Where a reference is silent, the API's own 400 text counts.
It reads forwards and keeps one open group of calls, so it shares no idea with code that reads backwards.
"""

from __future__ import annotations

from typing import Any

OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC = "OpenAI chat", "OpenAI responses", "Anthropic messages"

RULES = {
    # OpenAI chat
    "chat-answer-all": (OPENAI_CHAT, "an assistant message with tool_calls is followed by tool messages answering each tool_call_id"),
    "chat-no-orphan": (OPENAI_CHAT, "a message with role tool answers a preceding message with tool_calls"),
    "chat-no-duplicate": (OPENAI_CHAT, "a tool_call_id is answered once"),
    "chat-not-empty": (OPENAI_CHAT, "tool_calls has at least one entry"),
    "chat-call-shape": (OPENAI_CHAT, "a tool call has an id, a type, and a name with arguments as text; ids differ within a message"),
    "chat-result-shape": (OPENAI_CHAT, "a tool message has a tool_call_id, and content that is text or parts"),
    "chat-assistant-calls": (OPENAI_CHAT, "only an assistant message has tool_calls"),
    "function-pair": (OPENAI_CHAT, "a function_call is followed by the function message of that name, and there is none without"),
    # Anthropic
    "use-answered-next": (ANTHROPIC, "every tool_use has its tool_result in the next message, with no message between"),
    "result-has-use": (ANTHROPIC, "every tool_result has its tool_use in the message before"),
    "result-once": (ANTHROPIC, "a tool_use is answered by one tool_result"),
    "results-first": (ANTHROPIC, "tool_result blocks come before everything else in the content"),
    "use-ids-unique": (ANTHROPIC, "tool_use ids are unique in the whole request"),
    "block-shape": (
        ANTHROPIC,
        "tool_use has an id, a name and an object as input and stands with the assistant; tool_result names its id, with the user",
    ),
    # OpenAI responses
    "item-call-answered": (OPENAI_RESPONSES, "every function_call has a function_call_output of its call_id"),
    "item-output-has-call": (OPENAI_RESPONSES, "every function_call_output comes after a function_call of its call_id"),
    "item-ids-unique": (OPENAI_RESPONSES, "a call_id is used by one call and one output"),
    "item-shape": (OPENAI_RESPONSES, "a function_call has call_id, name and arguments as text; an output has call_id and output"),
    "reasoning-followed": (OPENAI_RESPONSES, "a reasoning item is followed directly by the item that it led to"),
    # All of them
    "one-form": ("each", "a message speaks one vendor's form"),
}


def broken_rules(messages: list[Any]) -> list[str]:
    """The rules that the messages break, as ``rule@index``; empty when every API concerned takes them. Forms may be mixed."""
    judge = _Judge()
    for place, message in enumerate(messages):
        judge.place = place
        judge.take(message)
    judge.place = len(messages)
    judge.end()
    return judge.broken


class _Judge:
    def __init__(self) -> None:
        self.place = 0
        self.broken: list[str] = []
        self.waiting_form = ""
        self.waiting: list[str] = []
        self.outputs_began = False
        self.after_reasoning = False
        self.answered_here: set[str] = set()
        self.used: dict[str, set[str]] = {ANTHROPIC: set(), OPENAI_RESPONSES: set()}

    def fail(self, rule: str) -> None:
        assert rule in RULES
        self.broken.append(f"{rule}@{self.place}")

    def end(self) -> None:
        self.leave_group()
        if self.after_reasoning:
            self.fail("reasoning-followed")

    def leave_group(self) -> None:
        unanswered = {"chat": "chat-answer-all", "function": "function-pair", "anthropic": "use-answered-next"}
        if self.waiting:
            self.fail(unanswered.get(self.waiting_form, "item-call-answered"))
        self.waiting_form, self.waiting, self.outputs_began = "", [], False

    def take(self, message: Any) -> None:
        if not isinstance(message, dict):
            self.fail("one-form")
            return
        blocks = [part for part in message["content"] if isinstance(part, dict)] if isinstance(message.get("content"), list) else []
        uses = [part for part in blocks if part.get("type") == "tool_use"]
        results = [part for part in blocks if part.get("type") == "tool_result"]
        if self.after_reasoning and not self.is_model_output(message, uses):
            self.fail("reasoning-followed")
        self.after_reasoning = False
        if "role" not in message and isinstance(message.get("type"), str) and message["type"] != "message":
            self.take_item(message)
        elif message.get("role") in ("tool", "function"):
            self.take_openai_result(message)
        else:
            self.take_spoken(message, uses, results)

    @staticmethod
    def is_model_output(message: dict[str, Any], uses: list[Any]) -> bool:
        kind = message.get("type")
        if "role" not in message and isinstance(kind, str) and kind != "message":
            return not kind.endswith("_output")
        chat_form = message.get("tool_calls") is not None or message.get("function_call") is not None or bool(uses)
        return message.get("role") == "assistant" and not chat_form

    def take_spoken(self, message: dict[str, Any], uses: list[Any], results: list[Any]) -> None:
        marks = [bool(uses), bool(results), message.get("tool_calls") is not None, message.get("function_call") is not None]
        if sum(marks) > 1:
            self.leave_group()
            self.fail("one-form")
        elif results:
            self.take_tool_results(message, results)
        elif message.get("tool_calls") is not None:
            self.take_tool_calls(message)
        elif uses:
            self.take_tool_uses(message, uses)
        elif message.get("function_call") is not None:
            self.take_function_call(message)
        elif message.get("role") == "assistant" and self.waiting_form == "item" and not self.outputs_began:
            pass  # one response may hold calls and text
        else:
            self.leave_group()

    # OpenAI chat

    def take_tool_calls(self, message: dict[str, Any]) -> None:
        self.leave_group()
        calls = message["tool_calls"]
        if message.get("role") != "assistant":
            self.fail("chat-assistant-calls")
        elif calls == []:
            self.fail("chat-not-empty")
        elif not self.are_calls(calls):
            self.fail("chat-call-shape")
        else:
            self.waiting_form, self.waiting = "chat", [call["id"] for call in calls]
            self.answered_here = set()

    def are_calls(self, calls: Any) -> bool:
        sound = isinstance(calls, list) and all(self.is_call(call) for call in calls)
        return sound and len({call["id"] for call in calls}) == len(calls)

    @staticmethod
    def is_call(call: Any) -> bool:
        if not isinstance(call, dict) or not isinstance(call.get("id"), str) or not call["id"]:
            return False
        for kind, text in (("function", "arguments"), ("custom", "input")):
            body = call.get(kind)
            if call.get("type") == kind and isinstance(body, dict):
                return isinstance(body.get("name"), str) and body["name"] != "" and isinstance(body.get(text), str)
        return False

    def take_function_call(self, message: dict[str, Any]) -> None:
        self.leave_group()
        call = message["function_call"]
        sound = isinstance(call, dict) and isinstance(call.get("name"), str) and call["name"] and isinstance(call.get("arguments"), str)
        if not sound or message.get("role") != "assistant":
            self.fail("function-pair" if message.get("role") == "assistant" else "chat-assistant-calls")
        else:
            self.waiting_form, self.waiting = "function", [call["name"]]

    def take_openai_result(self, message: dict[str, Any]) -> None:
        if message["role"] == "function":
            if self.waiting_form == "function" and self.waiting == [message.get("name")] and "content" in message:
                self.waiting = []
            else:
                self.leave_group()
                self.fail("function-pair")
            return
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not call_id or not isinstance(message.get("content"), (str, list)):
            self.fail("chat-result-shape")
        elif self.waiting_form == "chat" and call_id in self.waiting:
            self.waiting.remove(call_id)
            self.answered_here.add(call_id)
        elif self.waiting_form == "chat" and call_id in self.answered_here:
            self.fail("chat-no-duplicate")
        else:
            self.leave_group()
            self.fail("chat-no-orphan")

    # Anthropic

    def take_tool_uses(self, message: dict[str, Any], uses: list[Any]) -> None:
        self.leave_group()
        sound = message.get("role") == "assistant" and all(
            isinstance(part.get("id"), str)
            and part["id"]
            and isinstance(part.get("name"), str)
            and part["name"]
            and isinstance(part.get("input"), dict)
            for part in uses
        )
        if not sound:
            self.fail("block-shape")
            return
        ids = [part["id"] for part in uses]
        if len(set(ids)) != len(ids) or self.used[ANTHROPIC] & set(ids):
            self.fail("use-ids-unique")
        self.used[ANTHROPIC] |= set(ids)
        self.waiting_form, self.waiting = "anthropic", ids

    def take_tool_results(self, message: dict[str, Any], results: list[Any]) -> None:
        ids = [part.get("tool_use_id") for part in results]
        if message.get("role") != "user" or not all(isinstance(each, str) and each for each in ids):
            self.leave_group()
            self.fail("block-shape")
            return
        if any(part is not result for part, result in zip(message["content"], results, strict=False)):
            self.fail("results-first")
        if len(set(ids)) != len(ids):
            self.fail("result-once")
        expected = set(self.waiting) if self.waiting_form == "anthropic" else set()
        if not expected:
            self.leave_group()
        if set(ids) - expected:
            self.fail("result-has-use")
        if expected - set(ids):
            self.fail("use-answered-next")
        self.waiting_form, self.waiting = "", []

    # OpenAI responses

    def take_item(self, item: dict[str, Any]) -> None:
        kind = item["type"]
        paired = ("function_call", "custom_tool_call", "computer_call", "shell_call", "apply_patch_call")
        if kind in paired:
            self.take_item_call(item)
        elif kind.endswith("_output") and kind.removesuffix("_output") in paired:
            self.take_item_output(item)
        elif self.waiting_form != "item" or self.outputs_began:
            self.leave_group()
        self.after_reasoning = kind == "reasoning"

    def take_item_call(self, item: dict[str, Any]) -> None:
        call_id = item.get("call_id")
        named = item["type"] != "function_call" or (
            isinstance(item.get("name"), str) and item["name"] and isinstance(item.get("arguments"), str)
        )
        if not isinstance(call_id, str) or not call_id or not named:
            self.fail("item-shape")
            return
        if self.waiting_form != "item" or self.outputs_began:
            self.leave_group()
        key = f"{item['type']}:{call_id}"
        if key in self.used[OPENAI_RESPONSES]:
            self.fail("item-ids-unique")
        self.used[OPENAI_RESPONSES].add(key)
        self.waiting_form = "item"
        self.waiting.append(key)

    def take_item_output(self, item: dict[str, Any]) -> None:
        call_id = item.get("call_id")
        has_output = item["type"] != "function_call_output" or isinstance(item.get("output"), (str, list))
        key = f"{item['type'].removesuffix('_output')}:{call_id}"
        if not isinstance(call_id, str) or not call_id or not has_output:
            self.fail("item-shape")
        elif self.waiting_form == "item" and key in self.waiting:
            self.waiting.remove(key)
            self.outputs_began = True
        else:
            self.fail("item-ids-unique" if key in self.used[OPENAI_RESPONSES] else "item-output-has-call")
            self.leave_group()
