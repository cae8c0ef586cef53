"""Bearer tokens: the file, and who sees whose session, cell by cell."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.api_client import ModelApi
from tests.server.conftest import ALICE, BOB, ServedAgent, said
from turnlog.errors import InvalidSessionIdError
from turnlog.server import TokenFileError, Tokens
from turnlog.server.tokens import session_key

PATHS = ("/v1/chat/completions", "stream", "/chat", "/agent", "/")
WRONG = {
    "none": {},
    "empty": {"authorization": ""},
    "no scheme": {"authorization": ALICE},
    "another scheme": {"authorization": f"Basic {ALICE}"},
    "empty token": {"authorization": "Bearer"},
    "unknown": {"authorization": "Bearer unknown-0123456789"},
    "the beginning": {"authorization": f"Bearer {ALICE[:-1]}"},
    "one more": {"authorization": f"Bearer {ALICE}x"},
    "another case": {"authorization": f"Bearer {ALICE.upper()}"},
    "two": {"authorization": f"Bearer {ALICE} {BOB}"},
    "not ASCII": {"authorization": "Bearer älice-0123456789".encode()},
    "as a key": {"x-api-key": ALICE},
    "the name": {"authorization": "Bearer alice"},
}


def ask(server: ServedAgent, path: str, token: str, session: str, text: str) -> str:
    """The answer's text."""
    if path in ("/v1/chat/completions", "stream"):
        body = {"messages": said(text), "session_id": session, "stream": path == "stream"}
        answer = server.post("/v1/chat/completions", body, token)
        if path == "stream":
            events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-2]]
            return "".join(event["choices"][0]["delta"].get("content", "") for event in events)
        return str(answer.json()["choices"][0]["message"]["content"])
    return str(server.post(path, {"message": text, "session_id": session}, token).json()["response"])


NAMES = ("private", "alice.private", "served.alice.private", "bob.private", ".private", "alice.", "../alice.private", "alice", "bob")


def test_who_sees_whose_session(server: ServedAgent, api: ModelApi) -> None:
    """Every token, in every session that either might name, on every path: it learns what it said there itself, and nothing else."""
    secrets = {ALICE: "Alicesecret", BOB: "Bobsecret"}
    for token, (number, name) in product(secrets, enumerate(NAMES)):
        ask(server, "/v1/chat/completions", token, name, f"my name is {secrets[token]}{number}")
    for token, (number, name), path in product(secrets, enumerate(NAMES), PATHS):
        assert ask(server, path, token, name, "what is my name?") == f"Your name is {secrets[token]}{number}.", (token, name, path)
        # Nor was the model sent more.
        sent = str(api.requests()[-1])
        assert set(re.findall(r"(?:Alice|Bob)secret\d", sent)) == {f"{secrets[token]}{number}"}, (token, name, path)


@pytest.mark.parametrize("name", WRONG)
def test_without_a_right_token_there_is_nothing(server: ServedAgent, api: ModelApi, name: str) -> None:
    body = {"messages": said("hi"), "message": "hi", "session_id": "private"}
    answers = [server.post(path, body, None, headers=WRONG[name]) for path in PATHS if path != "stream"]
    answers += [server.http.get(path, headers=WRONG[name]) for path in ("/v1/models", "/v1/models/Assistant")]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert api.requests() == []


# The file and the keys ----------------------------------------------------------------------------------------------------------


def test_a_file_of_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# comment\n\nann: 01234567:9\nben:abcdefgh  \n ann :second-token\n")
    tokens = Tokens.read(file)
    assert [tokens.owner(each) for each in ("01234567:9", "second-token", "abcdefgh")] == ["ann", "ann", "ben"]
    assert [tokens.owner(each) for each in ("", "0123456", "abcdefgh ", "ABCDEFGH", "ann", "\ud800")] == [None] * 6
    assert repr(tokens) == "Tokens(ann, ben)"
    assert not any(token in str(vars(tokens)) for token in ("01234567:9", "second-token", "abcdefgh"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no token"),
        ("secret-without-name\n", "line 1: write name: token"),
        ("a.b: secret-0123\n", "'a.b' is no name"),
        (": secret-0123\n", "'' is no name"),
        ("ann: short\n", "the token of ann must be"),
        ("ann: sécret-0123\n", "the token of ann must be"),
        ("ann: secret-0123\nben: secret-0123\n", "the token of ben is also ann's"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(TokenFileError, match=told) as caught:
        Tokens.read(file)
    assert "secret" not in str(caught.value)
    with pytest.raises(TokenFileError, match="cannot be read"):
        Tokens.read(tmp_path)


OWNERS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
IDS = st.text(min_size=1, max_size=60)


@given(st.tuples(OWNERS, IDS), st.tuples(OWNERS, IDS))
def test_no_two_sessions_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (session_key(*one) == session_key(*other)) == (one == other)


def test_a_key_is_a_valid_id() -> None:
    assert session_key("a" * 64, "x" * 952)
    with pytest.raises(InvalidSessionIdError, match="the limit is 952"):
        session_key("a" * 64, "x" * 953)
    assert session_key(None, "x" * 1024) == "x" * 1024
    with pytest.raises(InvalidSessionIdError, match="empty"):
        session_key("a", "")
