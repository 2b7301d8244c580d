"""C of its two parts. No torch: orders of prompts are made from columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pandas as pd
    import torch

Values = TypeVar("Values", "torch.Tensor", "pd.Series")


def concentration(intra: Values, inter: Values, weight: float) -> Values:
    """C = C_intra + weight * C_inter (Eq. 7; Table 4 sweeps the weight), of tensors or columns."""
    return intra + weight * inter
