"""pydantic-ai messages for tests: one of every kind, and Hypothesis strategies over all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from pydantic_ai.messages import (
    AudioUrl,
    BinaryAudio,
    BinaryContent,
    BinaryImage,
    CachePoint,
    CapabilityLoadDeltaPart,
    CompactionPart,
    DocumentUrl,
    FilePart,
    ImageUrl,
    InstructionBaselinePart,
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelSettingsDeltaPart,
    NativeToolCallPart,
    NativeToolReturnPart,
    RetryFeedbackPart,
    RetryInfo,
    SpeechPart,
    StructuredContent,
    SystemPromptPart,
    TextContent,
    TextPart,
    ThinkingPart,
    ToolAvailabilityDeltaPart,
    ToolCallPart,
    ToolReturnPart,
    UploadedFile,
    UserPromptPart,
    VideoUrl,
)
from pydantic_ai.usage import RequestUsage

LONG = "All happy families are alike; each unhappy family is unhappy in its own way. "
WHEN = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
BYTES = bytes(range(256))

# Characters that strain an encoding, and the ones that data URLs and references are made of.
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", LONG, LONG * 3, "@", "data:image/png;base64,", "\x00", "\ud800", "é💬" * 40, '{"@":{"path":["content"]}}', "null"]
    ),
    st.text(alphabet="ab+/-_ =", min_size=60, max_size=90),
)
# pydantic replaces lone surrogates in keys, which is its business.
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["@", "path", "is", "kind", "part_kind"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=3)
DETAILS = OBJECTS | st.dictionaries(
    KEYS, st.deferred(lambda: TIMES) | st.booleans() | st.integers(0, 3) | st.just({"a": {"b": {"c": 1}}}), max_size=2
)
MAYBE_OBJECT = st.none() | OBJECTS
MAYBE_TEXT = st.none() | TEXTS
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).flatmap(
    lambda each: st.sampled_from([each.replace(tzinfo=UTC), each.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))])
)
DATA = st.binary(max_size=80) | st.just(BYTES)

PROVIDER: dict[str, Any] = {"id": MAYBE_TEXT, "provider_name": st.just("p"), "provider_details": MAYBE_OBJECT}
FILES = st.one_of(
    st.builds(
        ImageUrl, url=st.just("https://example.org/a.png") | st.just(f"https://example.org/{'x' * 80}.png"), vendor_metadata=MAYBE_OBJECT
    ),
    st.builds(AudioUrl, url=st.just("https://example.org/a.mp3"), force_download=st.booleans()),
    st.builds(VideoUrl, url=st.just("https://example.org/a.mp4"), media_type=st.just("video/mp4")),
    st.builds(DocumentUrl, url=st.just("https://example.org/a.pdf"), identifier=st.just("report")),
    st.builds(BinaryImage, data=DATA, media_type=st.sampled_from(["image/png", "image/webp"]), vendor_metadata=MAYBE_OBJECT),
    st.builds(BinaryAudio, data=DATA, media_type=st.sampled_from(["audio/wav", "audio/ogg"])),
    st.builds(BinaryContent, data=DATA, media_type=st.sampled_from(["application/pdf", "video/mp4", "text/plain", "x/y"])),
    st.builds(UploadedFile, file_id=st.just("file-1"), provider_name=st.just("openai")),
)
CONTENT = st.one_of(
    TEXTS,
    st.builds(TextContent, content=TEXTS, metadata=JSON),
    st.builds(StructuredContent, value=OBJECTS, tag=st.just("state")),
    st.builds(CachePoint, ttl=st.sampled_from(["5m", "1h"])),
    FILES,
)
RETURNED = st.one_of(JSON, FILES, st.lists(JSON | FILES, max_size=3), st.dictionaries(KEYS, JSON | FILES, max_size=2))
IDS = st.sampled_from(["c1", "c2", "call-" + "x" * 80])

REQUEST_PARTS = st.one_of(
    st.builds(UserPromptPart, content=TEXTS | st.lists(CONTENT, max_size=3), timestamp=TIMES),
    st.builds(SystemPromptPart, content=TEXTS, timestamp=TIMES, dynamic_ref=MAYBE_TEXT, metadata=MAYBE_OBJECT),
    st.builds(
        ToolReturnPart,
        tool_name=TEXTS,
        content=RETURNED,
        tool_call_id=IDS,
        metadata=JSON,
        timestamp=TIMES,
        outcome=st.sampled_from(["success", "failed", "denied", "interrupted", "retried"]),
    ),
    st.builds(
        RetryFeedbackPart, content=TEXTS, retry=st.builds(RetryInfo, cause=st.sampled_from(["model_retry", "no_output"])), timestamp=TIMES
    ),
    st.builds(
        SpeechPart,
        speaker=st.just("user"),
        transcript=MAYBE_TEXT,
        audio=st.none() | st.builds(BinaryAudio, data=DATA, media_type=st.just("audio/wav")),
    ),
    st.builds(CompactionPart, content=MAYBE_TEXT, metadata=MAYBE_OBJECT),
    st.builds(ToolAvailabilityDeltaPart, tools_added=st.lists(TEXTS, max_size=2)),
    st.builds(CapabilityLoadDeltaPart, loaded=st.lists(TEXTS, max_size=2)),
    st.just(ModelSettingsDeltaPart(settings={"thinking": "high"}, top_level=True)),
    st.builds(InstructionBaselinePart, instructions=st.lists(st.builds(InstructionPart, content=TEXTS), max_size=2)),
)
RESPONSE_PARTS = st.one_of(
    st.builds(TextPart, content=TEXTS, **PROVIDER),
    st.builds(TextPart, content=TEXTS),
    st.builds(ThinkingPart, content=TEXTS, signature=MAYBE_TEXT, **PROVIDER),
    st.builds(ToolCallPart, tool_name=TEXTS, args=MAYBE_TEXT | OBJECTS, tool_call_id=IDS, **PROVIDER),
    st.builds(NativeToolCallPart, tool_name=st.just("web_search"), args=MAYBE_TEXT | OBJECTS, tool_call_id=IDS, **PROVIDER),
    st.builds(NativeToolReturnPart, tool_name=st.just("web_search"), content=JSON, tool_call_id=IDS, timestamp=TIMES),
    st.builds(FilePart, content=st.builds(BinaryImage, data=DATA, media_type=st.just("image/png"))),
    st.builds(CompactionPart, content=MAYBE_TEXT, **PROVIDER),
    st.builds(SpeechPart, speaker=st.just("assistant"), transcript=MAYBE_TEXT, interrupted_at_ms=st.none() | st.integers(0, 9)),
)
USAGES = st.builds(
    RequestUsage,
    input_tokens=st.integers(0, 99),
    output_tokens=st.integers(0, 99),
    audio_seconds=st.sampled_from([0.0, 1.5]),
    details=st.dictionaries(KEYS, st.integers(0, 9), max_size=2),
    cost=st.none() | st.just(Decimal("0.25")) | st.just(Decimal("0")),
)
IDENTITY: dict[str, Any] = {"run_id": MAYBE_TEXT, "conversation_id": MAYBE_TEXT, "metadata": MAYBE_OBJECT}
REQUESTS = st.builds(
    ModelRequest,
    parts=st.lists(REQUEST_PARTS, max_size=4),
    timestamp=st.none() | TIMES,
    instructions=MAYBE_TEXT,
    state=st.sampled_from(["complete", "interrupted"]),
    **IDENTITY,
)
RESPONSES = st.builds(
    ModelResponse,
    parts=st.lists(RESPONSE_PARTS, max_size=4),
    usage=USAGES,
    model_name=MAYBE_TEXT,
    timestamp=TIMES,
    provider_name=MAYBE_TEXT,
    provider_details=st.none() | DETAILS,
    provider_response_id=MAYBE_TEXT,
    finish_reason=st.sampled_from([None, "stop", "length", "tool_call"]),
    state=st.sampled_from(["complete", "suspended", "interrupted"]),
    **IDENTITY,
)
PLAIN = st.builds(
    ModelResponse,
    parts=st.builds(TextPart, content=TEXTS).map(lambda part: [part]),
    usage=USAGES,
    timestamp=TIMES,
    provider_details=DETAILS,
)
HISTORIES: st.SearchStrategy[list[ModelMessage]] = st.lists(REQUESTS | RESPONSES | PLAIN, max_size=5)


def a_long_turn() -> list[ModelMessage]:
    """A turn with nearly everything in it: system prompt, image, thinking, parallel calls, a retry, files from a tool, the answer."""
    image = BinaryImage(data=BYTES * 4, media_type="image/png")
    return [
        ModelRequest(
            parts=[
                SystemPromptPart("Be brief.", timestamp=WHEN),
                UserPromptPart(["What is this?", image, ImageUrl(url="https://example.org/b.png")], timestamp=WHEN),
            ],
            instructions=LONG,
            run_id="run-1",
            timestamp=WHEN,
        ),
        ModelResponse(
            parts=[
                ThinkingPart(LONG, signature="sig" * 40, provider_name="anthropic"),
                TextPart(LONG),
                ToolCallPart("look", {"at": LONG, "n": 1.0}, "c1"),
                ToolCallPart("zoom", '{"x": 1}', "c2"),
            ],
            usage=RequestUsage(input_tokens=10, output_tokens=5, details={"reasoning_tokens": 3}),
            model_name="m",
            finish_reason="tool_call",
            provider_details={"finish_reason": "tool_use"},
            run_id="run-1",
            timestamp=WHEN,
        ),
        ModelRequest(
            parts=[
                UserPromptPart("meanwhile", timestamp=WHEN),
                ToolReturnPart("look", ["a cat", image], "c1", metadata={"shelf": 3}, timestamp=WHEN),
                ToolAvailabilityDeltaPart(tools_added=["pan"]),
                ToolReturnPart("zoom", "no such place", "c2", outcome="retried", timestamp=WHEN),
            ],
            run_id="run-1",
        ),
        ModelResponse(parts=[TextPart("A cat.")], usage=RequestUsage(input_tokens=20), model_name="m", run_id="run-1", timestamp=WHEN),
    ]
