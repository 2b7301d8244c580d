"""Low-rank adapters of a policy (LoRA, arXiv 2106.09685), by peft."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from gainrl.config.training import Lora
from gainrl.errors import ConfigError


class Adapter:
    """Adapters that are put into a model, in place; the rest of it is frozen.

    Their product is 0 at first. The model is used on as it was, and its type stays.
    """

    def __init__(self, model: Any, section: Lora, seed: int) -> None:
        """Draw A by the run's seed.

        Raises:
            ConfigError: the model has no module of a name in `targets`.
        """
        targets = section.targets if isinstance(section.targets, str) else [*section.targets]
        config = LoraConfig(
            task_type="CAUSAL_LM", r=section.rank, lora_alpha=section.alpha, target_modules=targets
        )
        with torch.random.fork_rng():
            torch.manual_seed(int(np.random.SeedSequence([seed, 25]).generate_state(1)[0]))
            try:
                self.wrapper = get_peft_model(model, config)
            except ValueError as error:
                raise ConfigError(f"training.lora.targets: {error}") from error

    def disabled(self) -> AbstractContextManager[Any]:
        """The model without adapters: as it started."""
        assert isinstance(self.wrapper, PeftModel)
        found: AbstractContextManager[Any] = self.wrapper.disable_adapter()
        return found

    def merged(self) -> Any:
        """A copy of the model with the adapters added to its weights, as a plain model."""
        return copy.deepcopy(self.wrapper).merge_and_unload()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The adapters' weights by name."""
        found: dict[str, torch.Tensor] = get_peft_model_state_dict(self.wrapper)
        return found

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put back what `state_dict` gave."""
        set_peft_model_state_dict(self.wrapper, state)
