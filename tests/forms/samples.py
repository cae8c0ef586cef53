"""The same conversation in each vendor's form, and messages that the vendors' types know; shared by the tests of this folder."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PIXEL_URL = f"data:image/png;base64,{PIXEL}"

CHAT: list[Message] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "Weather in Oslo and Rome?"},
    {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "tool", "tool_call_id": "call_2", "content": "sun"},
    {"role": "assistant", "content": "Rain and sun."},
]

RESPONSES: list[Message] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "Weather in Oslo and Rome?"},
    {"role": "assistant", "content": "Let me look."},
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'},
    {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": '{"city": "Rome"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    {"type": "function_call_output", "call_id": "call_2", "output": "sun"},
    {"role": "assistant", "content": "Rain and sun."},
]

ANTHROPIC: list[Message] = [
    {"role": "user", "content": "Weather in Oslo and Rome?"},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Rome"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "call_2", "content": "sun"},
        ],
    },
    {"role": "assistant", "content": "Rain and sun."},
]

REASONING: Message = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"}
THINKING: Message = {"type": "thinking", "thinking": "hm", "signature": "sig"}
SEARCH: Message = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}

PARTS: dict[str, dict[str, list[Message]]] = {
    "image data": {
        "chat": [{"type": "image_url", "image_url": {"url": PIXEL_URL}}],
        "responses": [{"type": "input_image", "detail": "auto", "image_url": PIXEL_URL}],
        "anthropic": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}],
    },
    "image address": {
        "chat": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}],
        "responses": [{"type": "input_image", "detail": "auto", "image_url": "https://example.org/a.png"}],
        "anthropic": [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}],
    },
    "pdf": {
        "chat": [{"type": "file", "file": {"filename": "file", "file_data": "data:application/pdf;base64,JVBERg=="}}],
        "responses": [{"type": "input_file", "filename": "file", "file_data": "data:application/pdf;base64,JVBERg=="}],
        "anthropic": [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}}],
    },
}
"""One thing beside a text, as each form says it; each may be made from each."""
