"""Search: the rule, by reading and by the index; bounds; snippets; an index that is turned on later; what erasure leaves of it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import say
from tests.session.search_corpus import agree
from turnlog.session import AsyncSqliteSessionStore, DefaultSessionStore, InMemorySessionStore, SessionStore, SqliteSessionStore
from turnlog.store import searching
from turnlog.words import SNIPPET, place_of, snippet, spelled, text_of, words_of, words_of_body


def found(store: SessionStore, query: str, limit: int = 100) -> list[str]:
    """The ids that search gives."""
    return [hit.session_id for hit in store.search(query, limit=limit)]


class TestAgreement:
    @pytest.mark.parametrize("seed", range(4))
    def test_scan_and_index_find_the_same_in_the_same_order(self, seed: int, tmp_path: Path) -> None:
        with (
            InMemorySessionStore() as scanning,
            SqliteSessionStore(tmp_path / "s.sqlite", durability="process", search=True) as indexing,
        ):
            agree(scanning, indexing, seed)
            assert indexing.backend.indexes_words  # type: ignore[attr-defined]

    def test_two_that_read_agree_too(self, tmp_path: Path) -> None:
        with InMemorySessionStore() as one, DefaultSessionStore(tmp_path, durability="process") as other:
            agree(one, other, 7, rounds=2)

    def test_it_is_seen_where_they_differ(self, tmp_path: Path) -> None:
        with (
            InMemorySessionStore() as scanning,
            SqliteSessionStore(tmp_path / "s.sqlite", durability="process", search=True) as indexing,
        ):
            indexing.add_message("odd", "user", "w1")
            with pytest.raises(AssertionError):
                agree(scanning, indexing, 0, rounds=1)

    @pytest.mark.parametrize("first", [1, 2, 3])
    def test_it_is_the_same_where_the_index_is_asked_bit_by_bit(self, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(searching, "_FIRST", first)
        with (
            InMemorySessionStore() as scanning,
            SqliteSessionStore(tmp_path / "s.sqlite", durability="process", search=True) as indexing,
        ):
            agree(scanning, indexing, 11, rounds=2)

    def test_for_event_loops(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with AsyncSqliteSessionStore(tmp_path / "s.sqlite", search=True) as store:
                await store.add_message("s", "user", "The quick brown fox")
                assert [hit.anchor_index for hit in await store.search("QUICK")] == [0]

        asyncio.run(run())


class TestBounds:
    def test_a_scan_looks_at_the_sessions_changed_last(self, store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(searching, "SCANNED", 3)
        for number in range(5):
            store.add_message(f"s{number}", "user", "word")
        assert found(store, "word") == ["s4", "s3", "s2"]

    def test_the_bounds_are_what_the_page_says(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "stores.md").read_text(encoding="utf-8")
        assert (searching.SCANNED, searching.FOUND) == (10_000, 10_000)
        assert page.count("10,000") >= 2

    def test_an_index_gives_the_best_messages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(searching, "FOUND", 4)
        monkeypatch.setattr(searching, "_FIRST", 2)
        with SqliteSessionStore(tmp_path / "s.sqlite", durability="process", search=True) as store:
            store.add_message("both", "user", "one two")
            for number in range(6):
                store.add_message(f"s{number}", "user", "one")
            assert found(store, "one two") == ["both", "s5", "s4", "s3"]

    @pytest.mark.parametrize("query", ["", " ", "-", "_", "\x00", "\ud800", "😀"])
    def test_a_query_without_words_finds_nothing(self, store: SessionStore, query: str) -> None:
        store.add_message("s", "user", "a - _ \x00 😀")
        assert store.search(query) == []


class TestTurningOn:
    def test_what_is_there_is_found_and_who_knows_nothing_of_it_indexes(self, tmp_path: Path) -> None:
        path = tmp_path / "s.sqlite"
        with SqliteSessionStore(path, durability="process") as plain:
            plain.add_messages("s", say("early word", "x"))
            assert not plain.backend.indexes_words  # type: ignore[attr-defined]
            with SqliteSessionStore(path, durability="process", search=True) as indexing:
                assert found(indexing, "early") == ["s"]
                # This one was open before there was an index.
                plain.add_messages("s", say("late word", "y"))
                assert found(indexing, "late") == ["s"]
                plain.delete_session("s")
                assert found(indexing, "word") == []

    def test_an_engine_that_has_not_been_asked_yet_is_asked(self, tmp_path: Path) -> None:
        with SqliteSessionStore(tmp_path / "s.sqlite", durability="process", search=True) as store:
            store.add_message("s", "user", "word")
        with SqliteSessionStore(tmp_path / "s.sqlite", durability="process") as again:
            asked: list[Any] = []
            find = again.backend.find  # type: ignore[attr-defined]

            def noted(*arguments: Any, **options: Any) -> Any:
                asked.append(arguments)
                return find(*arguments, **options)

            again.backend.find = noted  # type: ignore[attr-defined]
            assert found(again, "word") == ["s"]
            assert asked


class TestSnippets:
    @pytest.mark.parametrize("at", [0, 1, 30, 500])
    def test_the_phrase_is_in_it(self, at: int) -> None:
        text = "word " * at + "THE Whole\n phrase" + " word" * 400
        piece = snippet(text, spelled("the whole phrase"))
        assert "THE Whole phrase" in piece
        assert piece.strip("…") in " ".join(text.split())
        assert len(piece.strip("…")) <= SNIPPET

    def test_else_the_first_word_that_is_whole(self) -> None:
        assert "here red." in snippet("reds " * 100 + "here red. " + "blue " * 100, ["blue", "red"])
        assert snippet("nothing", ["x"]) == "nothing"


class TestWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("The QUICK fox, the fox!", ["the", "quick", "fox"]),
            ("a_b-c d.e 1,5", ["a", "b", "c", "d", "e", "1", "5"]),
            ("Straße ŉ naïve", ["strasse", "ʼn", "naïve"]),
            ("\x00 \ud800 😀 _", []),
            ("日本語 мир", ["日本語", "мир"]),
            ("y" * 100, ["y" * 64]),
        ],
    )
    def test_of_a_text(self, text: str, words: list[str]) -> None:
        assert words_of(text) == words

    def test_of_what_is_stored(self) -> None:
        assert words_of_body('{"role":"user","content":["a",{"text":"b \\ud800c"},7,{"content":[{"text":"d"}]}]}') == ["a", "b", "c", "d"]
        assert words_of_body('{"role":"user"}') == words_of_body("{") == words_of_body("[]") == words_of_body('{"content":null}') == []
        assert text_of([{"type": "text"}, None]) == "\n"

    def test_where_a_phrase_stands(self) -> None:
        chance = random.Random(1)
        for _ in range(300):
            words = chance.choices("ab", k=chance.randrange(8))
            phrase = chance.choices("ab", k=chance.randrange(1, 4))
            places = [at for at in range(len(words)) if words[at : at + len(phrase)] == phrase]
            assert place_of(phrase, words) == (places[0] if places else None)
