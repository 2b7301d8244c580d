"""MLflow's pages over a store that has no server: started in seconds, ended with the command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

from gainrl.errors import TrackingError
from gainrl.processes import terminated_like_interrupted

HOST = "127.0.0.1"
QUICK = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore::UserWarning",
}
"""Eight processes less, which evaluate agents and import MLflow each; no warnings of code."""


def serve(uri: str, port: int, ready: Callable[[], None]) -> int:
    """Show a store's runs until the pages are ended (Ctrl-C, SIGTERM); their exit code.

    Args:
        ready: called once, when they answer.

    Raises:
        TrackingError: the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise TrackingError(f"port {port} is taken ({error.strerror}); see --port") from error
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]  # else a line for each click
    with terminated_like_interrupted():
        process = subprocess.Popen(command, env={**QUICK, **os.environ}, start_new_session=True)
        try:
            while process.poll() is None and not _answers(port):
                time.sleep(0.2)
            if process.poll() is None:
                ready()
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _end(process)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the pages and their workers, which are a group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
