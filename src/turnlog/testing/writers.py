"""Writers in other processes: started on the place of a case, heard through a pipe, killed with -9."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnlog.testing.checks import Mismatch


class Writer:
    """A process that does one job of turnlog.testing.jobs; each line that it prints was true when it was printed."""

    def __init__(self, header: dict[str, Any], place: Path, job: str, arguments: dict[str, Any]) -> None:
        self.job = job
        code = f"import sys; sys.path[:] = {header['path']!r}; from turnlog.testing.jobs import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True
        )
        self.lines: list[str] = []
        """What it said so far."""
        self._times: list[float] = []
        self._heard = threading.Lock()
        """Held by who reads what it says."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pickle.dumps((header["main"], header["factory"], place, job, arguments)))
            self._process.stdin.flush()
        except BrokenPipeError:
            self.wait()

    def await_ready(self) -> None:
        """Wait until it has imported what it needs."""
        if self.hear(1) != ["ready"]:
            self.wait()
        self.lines.clear()
        self._times.clear()

    def begin(self) -> None:
        """Let it open the store and do its job."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def hear(self, count: int | None = None) -> list[str]:
        """Wait for ``count`` further lines, or for all until it ends (None); gives all lines so far."""
        for heard, _ in enumerate(self._hear(), 1):
            if heard == count:
                break
        return self.lines

    def pace(self) -> float:
        """Seconds from one line to the next, on average so far."""
        return (self._times[-1] - self._times[0]) / (len(self._times) - 1) if len(self._times) > 1 else 0.001

    def kill(self, after: float = 0.0) -> list[str]:
        """Kill it with -9, ``after`` seconds from now, and give every line that it had printed."""
        # Whoever kills at once hits the moment after a line; what matters lies between two lines.
        time.sleep(after)
        self._kill()
        self.hear()
        self._end()
        return self.lines

    def stop(self) -> None:
        """Kill it with -9 and hear nothing more; a thread that hears it now learns that it has ended, for two cannot read one pipe."""
        self._kill()
        if self._heard.acquire(blocking=False):
            self._end()
            self._heard.release()

    def wait(self) -> list[str]:
        """Every line, once it has ended by itself; a Mismatch where it failed."""
        self.hear()
        complaint = self._complaint()
        self._end()
        if self._process.returncode:
            last = " / ".join(complaint.strip().splitlines()[-3:])
            raise Mismatch(f"the job {self.job!r} in another process ends well", f"exit code {self._process.returncode}: {last}")
        return self.lines

    def _hear(self) -> Iterator[str]:
        with self._heard:
            if (stdout := self._process.stdout) is None or stdout.closed:
                return
            for line in stdout:
                # A line cut by the kill was not said.
                if line.endswith(b"\n"):
                    self._times.append(time.perf_counter())
                    self.lines.append(line.decode().rstrip("\n"))
                    yield self.lines[-1]

    def _complaint(self) -> str:
        stderr = self._process.stderr
        return stderr.read().decode("utf-8", "replace") if stderr is not None and not stderr.closed else ""

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
