"""A test's allocation: groups of one to five, some of which are asked for more."""

from dataclasses import dataclass

import numpy as np

from gainrl.curricula import Request
from gainrl.curricula.parts import Allocation


@dataclass
class Uneven(Allocation):
    """Row r gets 1 + r % 4 rollouts; of a draw's first prompts, those with 2 get 3 more."""

    several_draws = True

    def begin(self, rows):
        """Groups of one to four."""
        return Request(rows, 1 + rows % 4)

    def again(self, seen):
        """Three more for each group of two."""
        rows = seen.rows[seen.rollouts == 2]
        return Request(rows, np.full(len(rows), 3)) if len(rows) else None
