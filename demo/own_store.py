"""A store that somebody wrote: five methods, nothing of turnlog. The demonstration shows this class on the screen."""
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import json


class MyStore:
    def __init__(self, folder):
        self.folder = folder

    def add_message(self, session_id, role, content, metadata=None):
        line = json.dumps({"role": role, "content": content})
        with (self.folder / session_id).open("a") as file:
            file.write(line + "\n")
        return True

    def get_chat_history(self, session_id, max_messages=None):
        if not self.session_exists(session_id):
            return []
        lines = (self.folder / session_id).read_text().splitlines()
        return [json.loads(line) for line in lines[-(max_messages or 0) :]]

    def clear_session(self, session_id):
        return (self.folder / session_id).write_text("") == 0

    def delete_session(self, session_id):
        return (self.folder / session_id).unlink(missing_ok=True) is None

    def session_exists(self, session_id):
        return (self.folder / session_id).exists()
