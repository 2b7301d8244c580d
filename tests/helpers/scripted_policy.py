"""A policy whose requests and choices a test gives."""

from __future__ import annotations

import numpy as np

from gainrl.curricula.base import Request


class Script:
    """A policy that asks for what the test says, and keeps what it says."""

    whole_batches = reads_noise = False

    def __init__(self, requests, kept):
        self.requests, self.kept, self.seen = list(requests), kept, []

    def draw(self, seen, estimates):
        self.seen.append((seen, estimates))
        if not self.requests:
            return None
        rows, rollouts, *purpose = self.requests.pop(0)
        return Request(np.array(rows), np.array(rollouts), *purpose)

    def keep(self, seen):
        return np.array(self.kept)

    def rate(self):
        return 1.0
