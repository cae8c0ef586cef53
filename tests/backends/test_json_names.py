"""File names of hostile session ids: no two share a file, on any file system; nothing lies outside the directory."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import unicodedata
from pathlib import Path

import pytest

from tests.backends.json_files import directory, document
from tests.backends.samples import a_head, all_ids, record
from turnlog.backends.json_file.names import LONGEST_NAME, file_names, may_begin_with
from turnlog.backends.port import Query
from turnlog.errors import CorruptSessionError

DEVICES = ["con", "prn", "aux", "nul", *[f"{kind}{digit}" for kind in ("com", "lpt") for digit in range(10)]]
WORDS = [
    "a/b", "a_b", "a b", "a.b", "A_B", "a_B", "A/B", "a\\b", "a:b", "a|b", "a*b", "a?b", 'a"b', "a<b", "a%2fb", "a%2Fb", "%", "%%", "%25",
    "../../etc/passwd", "..", ".", "...", "/", "//", "/etc/passwd", "~", "~root", "-", "--help", "_", " ", "  ", "\t", "\n", "\r\n",
    "\x00", "a\x00", "a\x00b", "\x7f", "\x1b[2J", "con.json", "CON", "Con", "con ", "con.", "aux.txt", "chat-123", "CHAT-123", "chat-123 ",
    "chat-123.json", "chat-123.json.lock", "chat-123.json.tmp", "chat-123.json.side", "chat-123.json.corrupt-1", ".chat-123", "chat-123.",
    "naïve", "nai\u0308ve", "NAÏVE", "ﬁ", "fi", "ß", "ss", "SS", "ẞ", "İ", "i", "I", "ı", "i̇", "ſ", "s", "S", "K", "K", "k", "Å", "Å", "å",
    "Ω", "Ω", "ω", "𝐚", "a", "ａ", "①", "1", "½", "٣", "3", "😀", "👩‍👩‍👧", "👩", "\u200d", "\ufeff", "\u202e", "a\u200b", "\ud800",
    "\udfff",
    "\ud83d\ude00", "\ue000", "\uffff", "\U0010ffff", "한", "한", "ひ", "ヒ", "ﾋ", "x" * 120, "x" * 121, "x" * 255, "x" * 256, "x" * 1024,
    "X" * 120, "ü" * 40, "ü" * 41, "ü" * 1024, "😀" * 1024, "/" * 40, "/" * 41, "../" * 300, "~" + "0" * 64, "john.doe@x", "john_doe@x",
    "bot_telegram_12345", "'; DROP TABLE sessions; --", "${HOME}", "$(reboot)", "`id`", "{}", "[1]", "null", "true", "0", "00", "-1", "1e5",
]  # fmt: skip


def hostile_ids(count: int) -> list[str]:
    """The ids above, device names, and others drawn from what is hard: 500 different ones."""
    luck = random.Random(8)
    alphabet = "abAB01_-./\\%~ :ßſKÅåïﬁ①½\u0308\u0301\u0130\u0131\x00\n\ud800😀한"
    ids = dict.fromkeys([*WORDS, *DEVICES, *[name.upper() for name in DEVICES]])
    while len(ids) < count:
        ids["".join(luck.choices(alphabet, k=luck.choice([1, 2, 2, 3, 3, 4, 130])))] = None
    return list(ids)[:count]


IDS = hostile_ids(500)


def folded(name: str) -> set[str]:
    """What file systems may take a name for."""
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    return {each.casefold() for each in forms} | {unicodedata.normalize("NFC", each.casefold()) for each in forms}


def test_no_two_ids_have_a_name_in_common() -> None:
    assert len(IDS) == len(set(IDS)) == 500
    names = {session_id: folded(file_names(session_id)[0]) for session_id in IDS}
    for one, other in itertools.combinations(IDS, 2):
        assert not names[one] & names[other], (one, other)


def test_names_are_safe_everywhere() -> None:
    for session_id in IDS:
        name = file_names(session_id)[0]
        assert re.fullmatch(r"[a-z0-9_%~-]+\.json", name), name
        assert len(name) <= LONGEST_NAME + len(".json")
        assert name.removesuffix(".json") not in DEVICES
        assert not name.startswith(("-json", "."))


@pytest.mark.parametrize("session_id", ["chat-123", "a", "0", "_", "-", "x" * 120, "bot_telegram_12345", "com", "com10", "console"])
def test_plain_ids_keep_their_name(session_id: str) -> None:
    assert file_names(session_id)[0] == f"{session_id}.json"


def test_a_prefix_never_hides_a_session() -> None:
    luck = random.Random(4)
    for session_id in IDS:
        for size in {1, len(session_id), luck.randrange(len(session_id)) + 1}:
            for name in file_names(session_id):
                assert may_begin_with(name, session_id[:size]), (name, session_id[:size])


def tree(above: Path) -> set[str]:
    """Every path below."""
    return {os.path.join(place, name) for place, folders, files in os.walk(above) for name in (*folders, *files)}


def test_five_hundred_sessions_side_by_side(tmp_path: Path) -> None:
    root = tmp_path / "above" / "sessions"
    root.mkdir(parents=True)
    before = tree(tmp_path)
    backend = directory(root)
    for number, session_id in enumerate(IDS):
        assert backend.put_head(a_head(session_id, f"r{number}"), expect=None) is True
        backend.append(session_id, [record(f"m{number}")], now=1.0, expect=None)
    for number, session_id in enumerate(IDS):
        assert all_ids(backend, session_id, f"r{number}") == [f"m{number}"]
        assert document(root / file_names(session_id)[0])["session_id"] == json.loads(json.dumps(session_id))
    assert {head.session_id for head in backend.list_heads(Query(), cursor=None, limit=1000).heads} == set(IDS)
    made = tree(tmp_path) - before
    assert all(os.path.dirname(path) == str(root) for path in made)
    assert len([path for path in made if path.endswith(".json")]) == 500
    for number, session_id in enumerate(IDS):
        assert backend.remove_head(session_id, f"r{number}") is True
    assert {Path(path).suffix for path in tree(tmp_path) - before} == {".lock"}
    backend.close()


class TestNamesOfPraisonaiagents:
    """It gives ``a/b``, ``a_b`` and ``a b`` one file: only the session that is named inside is found there."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "a_b.json").write_text(json.dumps({"session_id": "a/b", "messages": [{"role": "user", "content": "theirs"}]}, indent=2))
        return tmp_path

    def test_the_session_inside_is_continued_in_place(self, root: Path) -> None:
        backend = directory(root)
        assert backend.append("a/b", [record("m")], now=1.0, expect=None).messages == 2
        assert [each["content"] for each in document(root / "a_b.json")["messages"]] == ["theirs", "m"]
        assert sorted(path.name for path in root.glob("*.json")) == ["a_b.json"]
        backend.close()

    def test_the_others_get_files_of_their_own(self, root: Path) -> None:
        backend = directory(root)
        for session_id in ("a_b", "a b", "a.b"):
            assert backend.get_head(session_id) is None
            assert backend.put_head(a_head(session_id), expect=None) is True
            backend.append(session_id, [record(session_id)], now=1.0, expect=None)
        for each in (backend, directory(root)):
            assert {head.session_id for head in each.list_heads(Query(), cursor=None, limit=9).heads} == {"a/b", "a_b", "a b", "a.b"}
            for session_id in ("a_b", "a b", "a.b"):
                assert all_ids(each, session_id) == [session_id]
            each.close()

    def test_a_session_under_a_strange_name_is_damage(self, root: Path) -> None:
        (root / "a_b.json").rename(root / "plain.json")
        backend = directory(root)
        with pytest.raises(CorruptSessionError, match=r"plain\.json"):
            backend.get_head("plain")
        backend.close()
