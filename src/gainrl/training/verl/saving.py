"""When a run on verl is saved, besides every `training.save_every` steps, and what is kept.

No verl and no torch: the launcher uses it too.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from gainrl.training import files

NEWEST = "latest_checkpointed_iteration.txt"
"""verl's note of its newest complete checkpoint, in the folder of checkpoints."""
STOP = "stop"
"""In a run's folder verl/: the job ends soon, so the trainer saves at the end of its step."""
KEPT = 2


def newest(checkpoints: Path) -> int | None:
    """The step of the newest complete checkpoint; None if there is none."""
    pointer = checkpoints / NEWEST
    text = pointer.read_text(encoding="ascii") if pointer.exists() else ""
    return int(text) if text.isdecimal() else None


def prune(checkpoints: Path, keep: int) -> list[int]:
    """Remove all but the newest `keep` complete checkpoints; one that was cut off goes too.

    verl forgets at every start what it has written before, and never removes that.

    Returns:
        The steps whose folders were removed.
    """
    last = newest(checkpoints)
    found: dict[int, Path] = {}
    for folder in checkpoints.glob("global_step_*"):
        number = folder.name.removeprefix("global_step_")
        if number.isdecimal():
            found[int(number)] = folder
    complete = sorted(step for step in found if last is not None and step <= last)
    removed = sorted(set(found) - set(complete[-keep:]))
    for step in removed:
        shutil.rmtree(found[step])
    return removed


class Saving:
    """The part of the trainer that saves by the clock and when the job ends soon.

    Stands before verl's trainer among the bases of a class; `job` is that of `entry`.
    """

    job: dict[str, Any]
    global_steps: int
    config: Any
    _saved_at = 0.0
    _saved_step = 0

    def on_init_end(self) -> None:
        """As verl's; the clock starts."""
        super().on_init_end()  # type: ignore[misc]
        self._saved_at, self._saved_step = time.monotonic(), self.global_steps

    def on_step_end(self) -> None:
        """Save if it is due, while the weights are where verl saves them; then as verl's."""
        if self._saved_step != self.global_steps and self._due():
            self._save_checkpoint()
        super().on_step_end()  # type: ignore[misc]

    def _due(self) -> bool:
        """Whether the step that was made is to be saved now."""
        extra = self.job["extra"]
        if extra and self.global_steps % extra["rl"]:
            return False  # a run can go on only from where the policy jumped
        if (Path(self.job["folder"]) / files.VERL / STOP).exists():
            return True
        return time.monotonic() - self._saved_at >= self.job["save_seconds"]

    def _save_checkpoint(self) -> None:
        """As verl's; what lies there from before this start is removed too."""
        super()._save_checkpoint()  # type: ignore[misc]
        self._saved_at, self._saved_step = time.monotonic(), self.global_steps
        prune(Path(self.config.trainer.default_local_dir), KEPT)
