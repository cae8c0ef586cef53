"""The command tree: families of sessions, drawn or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.text import Text

from turnlog.bots.keys import is_desk
from turnlog.cli import safe
from turnlog.cli.app import AsJson, NoPager, StoreUrl, app, examples, open_store
from turnlog.cli.graph import draw
from turnlog.cli.screen import counted, local_time, note, paged, print_json, waiting
from turnlog.cli.sessions import complete_session, find, heads
from turnlog.heads import Head
from turnlog.session import SessionStore
from turnlog.store.branching import is_parent
from turnlog.store.values import iso_time, title_of


@app.command("tree", epilog=examples("turnlog tree", "turnlog tree chat-123", "turnlog tree --json"))
def tree(
    ctx: typer.Context,
    session: Annotated[
        str | None,
        typer.Argument(metavar="SESSION", help="Only the family of this session.", show_default=False, autocompletion=complete_session),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what bots keep for themselves.")] = False,
    as_json: AsJson = False,
    no_pager: NoPager = False,
    store: StoreUrl = None,
) -> None:
    """Draw sessions and their forks, as git draws its graph.

    The oldest stands on top. A session's parent is the one above it in its lane, or the one that its lane leaves.
    """
    with open_store(ctx, store) as opened, waiting("reading"):
        # A store that cannot list says so here.
        opened.iter_sessions  # noqa: B018
        assert isinstance(opened, SessionStore)
        asked = find(opened, session) if session is not None else None
        forest = Forest(head for head in heads(opened) if everything or head.session_id == asked or not is_desk(head.session_id))
    roots = forest.roots if asked is None else [forest.root_of(asked)] if asked in forest.heads else []
    if as_json:
        print_json([forest.document(root) for root in roots])
    elif not roots:
        note("no sessions; turnlog --store URL tree looks elsewhere")
    else:
        with paged(not no_pager) as screen:
            for place, root in enumerate(roots):
                if place:
                    screen.put()
                for lanes, name in draw(root, forest.children):
                    screen.put(Text(lanes, "yellow") if name is None else forest.line(lanes, name, asked))


class Forest:
    """Sessions by id, with the forks of each, oldest first."""

    def __init__(self, every: Iterable[Head]) -> None:
        self.heads = {head.session_id: head for head in every}
        self.parents = {
            name: head.parent.session_id
            for name, head in self.heads.items()
            if head.parent and (above := self.heads.get(head.parent.session_id)) and is_parent(above, head)
        }
        self.children: dict[str, list[str]] = {}
        for name in sorted(self.parents, key=self._age):
            self.children.setdefault(self.parents[name], []).append(name)
        self.roots = sorted((name for name in self.heads if name not in self.parents), key=self._age)

    def root_of(self, name: str) -> str:
        """The oldest ancestor that is still there."""
        while name in self.parents:
            name = self.parents[name]
        return name

    def line(self, lanes: str, name: str, asked: str | None) -> Text:
        """A session's line in the drawing."""
        head = self.heads[name]
        title = title_of(head)
        fork = f"after #{head.parent.message_index}, " if name in self.parents and head.parent and head.parent.message_index >= 0 else ""
        return Text.assemble(
            (lanes, "yellow"),
            (safe.line(name), "bold green" if name == asked else "bold"),
            f'  "{safe.short(title, 60)}"' if title else "",
            (f"  {fork}{counted(head.count, 'message')}, {local_time(head.updated_at)}", "dim"),
        )

    def document(self, root: str) -> dict[str, Any]:
        """The tree below ``root`` as JSON types, nested."""
        made = self._node(root)
        open_nodes = [(root, made)]
        while open_nodes:
            name, node = open_nodes.pop()
            for child in self.children.get(name, ()):
                node["children"].append(self._node(child))
                open_nodes.append((child, node["children"][-1]))
        return made

    def _node(self, name: str) -> dict[str, Any]:
        head = self.heads[name]
        fork = head.parent.message_index if name in self.parents and head.parent else None
        times = {"created_at": iso_time(head.created_at), "updated_at": iso_time(head.updated_at)}
        values = {"session_id": name, "title": title_of(head), "message_count": head.count, **times}
        return {**values, "parent_id": self.parents.get(name), "forked_from_message_index": fork, "children": []}

    def _age(self, name: str) -> tuple[float, str]:
        return self.heads[name].created_at, name
