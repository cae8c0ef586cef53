"""Hostile ids, texts and contents: what stores have been seen to mix up, cut, change or choke on."""

from __future__ import annotations

import random
import unicodedata
from typing import Any

ORDINARY_IDS = [
    "chat-123",
    "bot_telegram_12345",
    "bot_telegram_1234",
    "user@example.org",
    "user_example.org",
    "team/alice",
    "team_alice",
    "team alice",
    "Team/Alice",
    "550e8400-e29b-41d4-a716-446655440000",
    "a",
    "A",
    "1",
    "01",
    "zürich",
    "会話-1",
]
"""Ids that every store must take, five methods or more."""

# None of these climbs more than two directories, and none is an absolute path: a store that takes ids for paths must not reach
# beyond the directories that the kit made.
_HOSTILE_IDS = [
    *(
        "a/b",
        "a_b",
        "a b",
        "a-b",
        "a.b",
        "a:b",
        "a\\b",
        "a%2Fb",
        "a%2fb",
        "a%252Fb",
        "a//b",
        "a/./b",
        "a/b/",
        "a+b",
        "a&b=c",
        "a?b#c",
    ),
    *("A_B", "A_b", "a_B", "straße", "STRASSE", "strasse", "ﬁle", "file", "İ", "i̇", "ı", "ſ", "s", "K", "k", "Å", "å"),
    *(
        ".",
        "..",
        "...",
        "./a",
        "../a",
        "../../etc/passwd",
        "~",
        "~/x",
        "-rf",
        "--",
        "a\0b",
        "a",
        "\0",
        "C:\\x",
        "\\\\server\\x",
    ),
    *(
        "CON",
        "con",
        "con.json",
        "NUL",
        "aux",
        "COM1",
        "lpt9",
        "PRN.txt",
        "a.",
        "a ",
        " a",
        "a..",
        ".a",
        "a.json",
        "a.json.lock",
        "a.lock",
        "a.tmp",
    ),
    *(
        "\u00e9",
        "e\u0301",
        "\u212b",
        "A\u030a",
        "\u1e9b\u0323",
        "\ud800",
        "\udfff",
        "\udc80\ud800",
        "😀",
        "👩‍👩‍👧",
        "\u202e",
        "\u200b",
        "a\u200b",
        "\ufeff",
        "\u2028",
    ),
    *(
        "\n",
        "a\n",
        "a\nb",
        "a\r\nb",
        "\t",
        "a\tb",
        "\x1b[2J",
        "\x7f",
        "'",
        '"',
        "a'b",
        'a"b',
        "a`b",
        "$(x)",
        "${x}",
        "a;b",
        "a|b",
        "a*b",
        "a?b",
        "[a]",
    ),
    *(
        "'; DROP TABLE sessions; --",
        "%",
        "_",
        "a%",
        "a_",
        "%a",
        "{a}",
        "{}",
        "*",
        "?",
        "a[0]",
        "null",
        "None",
        "true",
        "0",
        "-1",
        "1e5",
        "{{x}}",
    ),
    *("x" * 1024, "x" * 1023, "X" * 1024, "x" * 255, "x" * 256, "x" * 120, "x" * 121, "😀" * 1024, "é" * 1024, "e\u0301" * 512, "a/" * 512),
    *(
        "s",
        "s:1",
        "s:1:head",
        "s:head",
        "head",
        "messages",
        "sessions",
        "snapshot",
        "index",
        "__proto__",
        "constructor",
        "toString",
        "__init__",
    ),
]
HOSTILE_IDS = list(dict.fromkeys(_HOSTILE_IDS))
"""Ids that a full store must take, each a session of its own; five methods may refuse some, and must mix up none."""


def similar_ids(source: random.Random, count: int) -> list[str]:
    """Different ids that sanitising, folding, normalising, decoding or cutting would make alike."""
    found: dict[str, None] = dict.fromkeys(HOSTILE_IDS)
    while len(found) < count:
        base = source.choice(list(found)[: len(HOSTILE_IDS)])
        other = source.choice(HOSTILE_IDS)
        changed = source.choice(
            [
                base.swapcase(),
                base.casefold(),
                unicodedata.normalize(source.choice(("NFC", "NFD", "NFKC", "NFKD")), base),
                base + source.choice((" ", ".", "\0", "_", "/", "%00", "\u200d", ".json", "~1")),
                source.choice((" ", ".", "_", "%", "=", "~")) + base,
                base.replace("/", source.choice(("_", "%2F", "\\", "\u2215", "-"))),
                base[: len(base) // 2] + other[len(other) // 2 :],
                base.encode("utf-8", "surrogatepass").hex(),
                "".join(f"%{byte:02X}" for byte in base.encode("utf-8", "surrogatepass"))[:1000],
            ]
        )
        if 0 < len(changed) <= 1024 and not changed.startswith("/"):
            found[changed] = None
    return list(found)[:count]


TEXTS = {
    "nothing": "",
    "spaces": "  \t leading and trailing \t  ",
    "line ends": "a\nb\r\nc\rd\n",
    "only line ends": "\n\n\n",
    "quotes": "\"double\" 'single' \\back\\slash `tick` \\n \\u0041",
    "umlauts": "Zürich, Ærø, Łódź, Ελλάδα, Москва, 東京, 서울, ไทย, עברית, العربية",
    "emoji": "😀 👩‍👩‍👧‍👦 🇨🇭 👍🏽 \U0001f9d1\u200d\U0001f680",
    "line separators": "a\u2028b\u2029c\u0085d\x0be\x0cf",
    "marks": "\ufeffbom \u202eright to left\u202c \u200bzero width \u00adsoft \ufffe \uffff",
    "normal forms": "\u00e9 e\u0301 \u212b A\u030a \ufb01",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f" + "".join(map(chr, range(128, 160))),
    "planes": "\U00010000 \U0001ffff \U0010ffff \U000e0001",
    "a store's own format": '{"session_id": "x", "messages": [\n{"role": "user", "content": "y"},\n]}\n],"count":1}\n',
    "sql": "'; DROP TABLE messages; -- \" %s ? :x $1",
    "numbers": "0",
    "words of languages": "null None true False NaN Infinity undefined",
    "markup": "<script>alert(1)</script> &amp; {{x}} {x} ${x} %(x)s $(x) \x1b[31mred",
    "base64": "AAAA" * 300,
}
"""Texts that every store must give back as they were."""

NUL_TEXTS = {"a NUL": "before\0after", "only NUL": "\0", "NUL at the end": "text\0", "an escape for NUL": "\\u0000 \\0 %00"}

SURROGATE_TEXTS = {"a high one": "a\ud83db", "a low one": "a\ude00b", "reversed": "\ude00\ud83d", "alone": "\udfff", "an escape": "\\ud800"}

CONTENTS: dict[str, Any] = {
    "None": None,
    "parts": [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
    ],
    "no parts": [],
    "parts that are texts": ["a", "b"],
    "an object": {"type": "json", "value": {"a": [1, {"b": None}]}},
    "an empty object": {},
    "a number": 7,
    "a truth": True,
    "an untruth": False,
    "zero": 0,
    "a float": 0.5,
    "nested empties": [[], {}, [[]], [{}], {"a": []}, "", None],
    "envelope keys inside": [{"id": "x", "metadata": {"y": 1}, "timestamp": 5, "role": "user"}],
    "keys of all kinds": {"": 1, " ": 2, "a.b": 3, "$set": 4, "__proto__": 5, "é": 6, "\0": 7, "\ud800": 8, "0": 9, "role": 10},
    "keys in an order": {"z": 1, "a": 2, "m": {"y": 1, "b": 2}, "10": 3, "9": 4},
    "numbers": [
        *(0, -1, 1, 2**31, 2**53, 2**53 + 1, -(2**63), 2**63, 2**64, 10**40, -(10**100)),
        *(0.0, -0.0, 1.0, 0.1, 0.1 + 0.2, 1e308, -1e308, 5e-324, 1e16, 123456789.123456789, 1 / 3),
    ],
    "truths beside numbers": [True, 1, 1.0, False, 0, 0.0, None, "", "1", "true"],
    "texts in parts": [{"type": "text", "text": text} for text in TEXTS.values()],
}
"""Contents beside text."""


def deep(levels: int) -> Any:
    """Lists and objects within each other, ``levels`` deep."""
    value: Any = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"down": value}
    return value


def refused() -> dict[str, Any]:
    """Contents that JSON cannot hold, so that they must be refused before anything is written."""
    cycle: list[Any] = []
    cycle.append(cycle)
    ring: dict[str, Any] = {}
    ring["ring"] = [ring]
    return {
        "NaN": float("nan"),
        "infinity": float("inf"),
        "minus infinity": [1.0, {"x": float("-inf")}],
        "NaN deep inside": {"a": [{"b": float("nan")}]},
        "bytes": b"bytes",
        "bytes in parts": [{"type": "image", "data": b"\x89PNG"}],
        "a bytearray": bytearray(b"x"),
        "a set": {1, 2},
        "a set in an object": {"tags": {"a"}},
        "a list in itself": cycle,
        "an object in itself": ring,
        "an int as key": {1: "x"},
        "None as key": {"a": {None: "x"}},
        "a truth as key": [{True: "x"}],
        "a tuple as key": {("a", "b"): 1},
        "an object of no JSON type": object(),
        "a complex number": 1j,
        "a function": len,
        "a type": int,
    }
