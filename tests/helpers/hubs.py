"""The hub of tests: a cache laid out as its library does, and a server that refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Refuses(BaseHTTPRequestHandler):
    """gated/... is gated; it has nothing else."""

    def _answer(self) -> None:
        gated = "/gated/" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def refusing_hub() -> Iterator[str]:
    """The address of a hub that gives nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def cached(home: Path, name: str) -> Path:
    """The folder in which the cache below HF_HOME has a model's snapshot."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    return snapshot


def gainrl(
    folder: Path, endpoint: str, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own with a cache in `folder` and a hub of the tests."""
    ours = ("HF_", "GAINRL_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    given = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder), **more}
    command = [sys.executable, "-m", "gainrl.cli", *arguments]
    return subprocess.run(
        command, env={**kept, **given}, capture_output=True, text=True, timeout=300, check=False
    )
