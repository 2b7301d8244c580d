"""What the policy of a method reads and what it cannot do, known before the data. No torch."""

from __future__ import annotations

from gainrl import curricula
from gainrl.config.methods import Method
from gainrl.config.preset import Preset
from gainrl.curricula import Curriculum
from gainrl.data import registry
from gainrl.errors import ConfigError
from gainrl.plan.layout import RunKey


def policy_of(method: Method, key: str = "curriculum") -> Curriculum:
    """A method's curriculum as it is before a training table is there.

    Args:
        key: where the preset says so, for the error message.

    Raises:
        ConfigError: as `curricula.compose`.
    """
    return curricula.compose(method.curriculum.model_dump(), key)


def feature_kinds(method: Method) -> tuple[str, ...]:
    """Kinds of features that a method's curriculum reads, if it needs any."""
    sampler = policy_of(method).sampler
    return sampler.feature_kinds if "features" in sampler.needs else ()


def check_format(preset: Preset, run: RunKey) -> None:
    """Refuse a reward for the format of answers that have none to check.

    Raises:
        ConfigError: naming the method and the data set.
    """
    grader = registry.grader_of(preset.datasets[run.dataset])
    weight = preset.training_for(run.dataset, run.model, run.method).format_weight
    if weight and not grader.startswith("maths"):
        raise ConfigError(
            f"training.format_weight: method '{run.method}' is trained on '{run.dataset}', whose "
            f"grader '{grader}' checks no format"
        )
