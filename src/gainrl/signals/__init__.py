"""Signals that a prefill pass gives: the angle concentration of Eq. 5 and what surrounds it.

    found = angles_of_states(states, n_prefix=24)  # of numpy arrays, one a prompt
    order = (-found.combined()).argsort()

The numbers need numpy alone. What runs a model (`Prefill`, `score`, `mean_states`) needs the extra
[score], and says so where it is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gainrl import extras
from gainrl.signals.concentration import Angles, angles, angles_of_states, concentration

if TYPE_CHECKING:
    from gainrl.signals.pooled import mean_states, principal_components
    from gainrl.signals.prefill import Prefill, score
    from gainrl.signals.shift import anchor_states, coreset

__all__ = [
    "Angles",
    "Prefill",
    "anchor_states",
    "angles",
    "angles_of_states",
    "concentration",
    "coreset",
    "mean_states",
    "principal_components",
    "score",
]

_ON_MODELS = {
    "Prefill": "prefill",
    "anchor_states": "shift",
    "coreset": "shift",
    "mean_states": "pooled",
    "principal_components": "pooled",
    "score": "prefill",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_MODELS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    with extras.wanted("score"):
        return getattr(import_module(f"{__name__}.{_ON_MODELS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
