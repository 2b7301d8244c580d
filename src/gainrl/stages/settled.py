"""The settings of a tuned method, which a training job reads when it begins."""

from __future__ import annotations

from dataclasses import replace

from gainrl import plan
from gainrl.errors import ConfigError
from gainrl.plan import RunKey
from gainrl.records import read_json
from gainrl.stages.common import Context


def settled(context: Context, key: RunKey) -> tuple[Context, dict[str, str] | None]:
    """The context in which a run's method has the setting that tuning has chosen.

    Returns:
        The same context and None for a method that is not tuned; else what the run's records say
        of the choice: the setting's name, and digests of what was tried and of the results.

    Raises:
        ConfigError: the choice is of other settings than those that the preset tries.
        DataError: there is no choice, or its file is damaged.
    """
    preset, layout = context.preset, context.layout
    owner = plan.owner_of(preset, key.method)
    if owner is None:
        return context, None
    path = layout.choice(key.model, key.dataset, owner)
    choice = read_json(path)
    tried = plan.digest(plan.tuning_slice(preset, key.model, key.dataset, owner))
    if choice["tried"] != tried:
        raise ConfigError(
            f"{path}: chosen from other settings ({choice['tried']}) than the preset tries "
            f"({tried}); `gainrl tune` chooses from these"
        )
    methods = {**preset.methods, key.method: plan.with_choice(preset, key.method, choice)}
    noted = {name: choice[name] for name in ("chosen", "tried", "results")}
    return replace(context, preset=preset.model_copy(update={"methods": methods})), noted
