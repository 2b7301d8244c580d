"""`snakemake --logger gainrl`: lines of `gainrl.progress` in place of Snakemake's own.

Snakemake finds the plugin by the name of this package. Its log file has everything, as ever.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from gainrl.progress import Progress

EVERY = 60.0
"""Seconds from one line of what runs to the next."""
FAILED = frozenset({LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR})
"""Errors of jobs: the workflow's last lines have each with its cause and its log."""


class LogHandler(LogHandlerBase):
    """Writes to stderr."""

    def __post_init__(self) -> None:
        """Begin with the clock."""
        self.progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
        self.guard, self.over = threading.Lock(), threading.Event()
        self.failed = False
        threading.Thread(target=self._now_and_then, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """One of Snakemake's events, or a message."""
        event, said = getattr(record, "event", None), vars(record)
        with self.guard:
            if event == LogEvent.RUN_INFO:
                self.progress.planned(said["stats"])
            elif event == LogEvent.JOB_INFO:
                self.progress.starts(
                    said["jobid"], said["rule_name"], said["wildcards"], said["output"]
                )
            elif event == LogEvent.JOB_FINISHED:
                self.progress.ends(said["job_id"])
            elif event in FAILED:
                self.failed = True
                if event == LogEvent.JOB_ERROR:
                    self.progress.fails(said["jobid"])
            elif event == LogEvent.ERROR and self.failed:
                pass  # that jobs failed; without one it is why nothing was run
            elif record.levelno >= logging.WARNING:
                print(record.getMessage(), file=sys.stderr, flush=True)

    def _now_and_then(self) -> None:
        while not self.over.wait(EVERY):
            with self.guard:
                self.progress.status()

    def close(self) -> None:
        """End the thread."""
        self.over.set()
        super().close()

    writes_to_stream: Any = True
    writes_to_file: Any = False
    has_filter: Any = True
    has_formatter: Any = True
    needs_rulegraph: Any = False
