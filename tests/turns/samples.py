"""What the vendors' APIs answer, as the objects of their SDKs: built from JSON through the SDKs' own models, as the SDKs do."""

from __future__ import annotations

from typing import Any

from anthropic.types import Message, ParsedMessage
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Lisbon"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
]
RESULTS = [
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_2", "content": "12:00"},
]
BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Two tools.", "signature": "c2ln"},
    {"type": "text", "text": "Let me see.", "citations": None},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Lisbon"}},
    {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
]
KEPT_BLOCKS = [{key: value for key, value in block.items() if value is not None} for block in BLOCKS]
"""The blocks as the API takes them back."""
BLOCK_RESULTS = {
    "role": "user",
    "content": [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "12:00"},
    ],
}
ITEMS: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None, "status": None},
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city":"Lisbon"}',
        "status": "completed",
    },
    {"type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "clock", "arguments": "{}", "status": "completed"},
]
KEPT_ITEMS = [{key: value for key, value in item.items() if value is not None} for item in ITEMS]
OUTPUTS = [
    {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    {"type": "function_call_output", "call_id": "call_2", "output": "12:00"},
]
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Sunny.", "annotations": [], "logprobs": []}],
}


def chat(message: dict[str, Any], tokens: tuple[int, int] = (10, 5)) -> ChatCompletion:
    """What ``client.chat.completions.create`` returns."""
    given = {"role": "assistant", "refusal": None, "annotations": [], **message}
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return ChatCompletion.model_validate(
        {
            "id": "chatcmpl_1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-5",
            "choices": [{"index": 0, "finish_reason": reason, "logprobs": None, "message": given}],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
        }
    )


def message(content: list[dict[str, Any]], tokens: tuple[int, int] = (10, 5)) -> Message:
    """What ``client.messages.create`` returns."""
    return Message.model_validate(_message(content, tokens))


def streamed_message(content: list[dict[str, Any]]) -> ParsedMessage[Any]:
    """What ``stream.get_final_message()`` returns where an output format was asked for: with what the SDK has read out of the text."""
    blocks = [{**block, "parsed_output": {"city": "Lisbon"}} if block["type"] == "text" else block for block in content]
    return ParsedMessage[Any].model_validate(_message(blocks, (10, 5)))


def response(output: list[dict[str, Any]], tokens: tuple[int, int] = (10, 5)) -> Response:
    """What ``client.responses.create`` returns."""
    return Response.model_validate(
        {
            "id": "resp_1",
            "object": "response",
            "created_at": 1.0,
            "model": "gpt-5",
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": {
                "input_tokens": tokens[0],
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": tokens[1],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": sum(tokens),
            },
        }
    )


def _message(content: list[dict[str, Any]], tokens: tuple[int, int]) -> dict[str, Any]:
    called = any(block["type"] == "tool_use" for block in content)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": content,
        "stop_reason": "tool_use" if called else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
    }
