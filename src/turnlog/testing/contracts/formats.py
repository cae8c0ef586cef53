"""Promise 3.11: formats have versions; what a newer version wrote is refused and left as it is."""

from __future__ import annotations

from turnlog.errors import FormatVersionError
from turnlog.testing.checks import Mismatch, holds, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import turn


@case("3.11.1", "Data of a newer version is refused with FormatVersionError, and left as it is", needs=["place", "make_newer"])
def newer(trial: Trial) -> None:
    store, make_newer = trial.store, trial.subject.make_newer
    assert make_newer is not None, "the runner looks at needs first"
    store.add_messages("s", turn("w", 0))
    store.close()
    make_newer(trial.place)
    before = {path: path.read_bytes() for path in trial.files()}
    for name, call in (("get_chat_history", ("s",)), ("add_message", ("s", "user", "x")), ("clear_session", ("s",))):
        try:
            again = trial.open_again()
            answer = getattr(again, name)(*call)
        except FormatVersionError as error:
            found, supported = getattr(error, "found", None), getattr(error, "supported", None)
            holds(found != supported and found is not None, "the format numbers found and supported", (found, supported))
        else:
            raise Mismatch(f"{name} raises FormatVersionError", f"it returned {answer!r:.80}")
    after = {path: path.read_bytes() for path in trial.files() if path in before}
    same(after == before, True, "the files are as the newer version left them")
