"""C of the prompts of a step, from the hidden states that its update has anyway."""

from __future__ import annotations

import numpy as np
import torch

from gainrl.config.preset import Scoring
from gainrl.curricula.base import FloatArray, IntArray
from gainrl.data.prompts import Prompts
from gainrl.signals.angle import from_states


def signal_of(
    states: torch.Tensor, prompts: Prompts, rows: IntArray, scoring: Scoring
) -> FloatArray:
    """(P,) C of packed rows, each of which begins with its prompt.

    Args:
        states: (P, T, D) hidden states.
        prompts: as this step rendered them.
        rows: (P,) of the training table.
    """
    lengths, prefixes = prompts.n_question[rows], prompts.prefixes[rows]
    found = np.empty(len(rows))
    for n_prefix in np.unique(prefixes).tolist():  # with templates there may be several
        at = np.flatnonzero(prefixes == n_prefix)
        mine = states if len(at) == len(rows) else states[torch.from_numpy(at)]
        with torch.no_grad():
            angles = from_states(mine, n_prefix, torch.tensor(lengths[at], device=states.device))
        found[at] = angles.combined(scoring.inter_weight, scoring.variant == "offdiagonal").tolist()
    return found
