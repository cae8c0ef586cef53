"""When a new conversation begins by itself: after a time of silence, or every day. Judged from stored times, so restarts change nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

_DAILY = re.compile(r"daily@([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Resets:
    """``idle``: minutes of silence. ``daily``: "daily@04:00", in the zone (None: the machine's). None for never."""

    idle: float | None = None
    daily: str | None = None
    zone: tzinfo | None = None

    def __post_init__(self) -> None:
        if self.idle is not None and not self.idle > 0:
            raise ValueError(f"idle must be more than 0 minutes, or None for never, not {self.idle!r:.80}")
        if self.daily is not None and _DAILY.fullmatch(self.daily) is None:
            raise ValueError(f'reset must be "daily@HH:MM", such as "daily@04:00", or None for never, not {self.daily!r:.80}')

    def due(self, last: float | None, now: float) -> bool:
        """Whether a message of the time ``now`` begins a new conversation, the one before being of ``last``. Seconds since the epoch."""
        if last is None or now <= last:
            return False
        if self.idle is not None and now - last > 60 * self.idle:
            return True
        return self.daily is not None and self._boundary(now) > last

    def _boundary(self, now: float) -> float:
        """The last time of day at or before ``now``."""
        found = _DAILY.fullmatch(self.daily or "")
        assert found is not None
        here = datetime.fromtimestamp(now, self.zone)
        at = here.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        # Calendar days, not 24 hours: those are not the same where clocks are put forward and back.
        return (at if at <= here else at - timedelta(days=1)).timestamp()
