"""Texts on disk while the rest of their table is in memory: tests of programs can be gigabytes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType


class Spool:
    """Texts in a file without a name, which is gone when it is closed; keys are texts too."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self.ends = [0]

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, text: str) -> str:
        """Keep a text; returns its key."""
        data = text.encode("utf-8")
        self.file.seek(self.ends[-1])
        self.file.write(data)
        self.ends.append(self.ends[-1] + len(data))
        return str(len(self.ends) - 2)

    def get(self, key: str) -> str:
        """The text of a key."""
        start, end = self.ends[int(key)], self.ends[int(key) + 1]
        self.file.seek(start)
        return self.file.read(end - start).decode("utf-8")
