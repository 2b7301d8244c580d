"""What a user of verl may say below `gainrl` in verl's configuration. No verl."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from gainrl import curricula
from gainrl.config.base import Section
from gainrl.config.errors import explain
from gainrl.curricula import Curriculum, Setting
from gainrl.curricula.base import FloatArray, IntArray
from gainrl.errors import ConfigError, DataError, nearest
from gainrl.training.verl.segments import Signal

Column = Callable[[str], Sequence[Any]]
"""A column of the training data by name; KeyError if there is none."""


class Plugin(Section):
    """The section `gainrl`, each key given as `+gainrl.KEY=VALUE`."""

    curriculum: str | dict[str, Any]
    """A policy's name; a mapping with `name` and its parameters; or one with `sampler`, `filter`
    and `rollouts`."""
    seed: int | None = None
    """Of its draws; without it `data.seed`, and 0 where that is null."""
    order_column: str = "gainrl_rank"
    """Ranks, lowest first, for policies that need an order: what `gainrl order` adds."""
    difficulty_column: str = "difficulty"
    """Numbers from 0 (easy) to 100, for policies that need them."""
    category_column: str = "data_source"
    """For policies that choose among categories."""
    success: float | None = None
    """Reward from which on a response is correct. Without it accuracy is what the reward function
    returns as `acc`, or else the reward."""
    tap: Literal["post_norm", "pre_norm", "up_proj_input"] = "post_norm"
    """Where C is read, for policies that read it."""
    inter_weight: float = Field(default=1.0, ge=0)
    """c in C = C_intra + c * C_inter."""
    variant: Literal["paper", "offdiagonal"] = "paper"
    """C with or without its diagonal (i = j)."""

    @property
    def signal(self) -> Signal:
        """What C is."""
        return Signal(self.tap, self.inter_weight, self.variant == "offdiagonal")


def section_of(config: Mapping[str, Any]) -> Plugin:
    """The section of a whole configuration of verl.

    Raises:
        ConfigError: there is none, or a key of it is wrong.
    """
    given = config.get("gainrl")
    if not given or "curriculum" not in given:
        raise ConfigError(
            "trainer.v1.trainer_mode is gainrl, but no curriculum is named: add "
            f"+gainrl.curriculum=NAME; NAME is one of {', '.join(sorted(curricula.REGISTRY))}"
        )
    try:
        return Plugin.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError(f"gainrl: {explain(error, Plugin)}") from error


def check_settings(config: Any) -> None:
    """Refuse what a curriculum takes the place of, or does not know (ConfigError).

    config: verl's, of which keys are read as attributes.
    """
    custom = config.trainer.v1.sampler.custom_sampler
    filtering = config.algorithm.get("filter_groups")
    refused = {
        "trainer.v1.sampler.custom_sampler.name": custom and custom.get("name"),
        "algorithm.filter_groups.enable": filtering and filtering.get("enable"),
        "trainer.v1.sampler.sync_refill_failed_groups": config.trainer.v1.sampler.get(
            "sync_refill_failed_groups"
        ),
        "data.gen_batch_size": config.data.get("gen_batch_size"),
    }
    for key, value in refused.items():
        if value:
            raise ConfigError(
                f"{key}={value}: the curriculum draws and filters; leave it out "
                "(+gainrl.curriculum=dapo draws until enough groups are mixed)"
            )
    actor, critic = config.actor_rollout_ref.actor, config.critic
    if config.algorithm.adv_estimator == "gae" and (
        critic.ppo_mini_batch_size != actor.ppo_mini_batch_size
    ):
        raise ConfigError(
            f"critic.ppo_mini_batch_size is {critic.ppo_mini_batch_size} and the actor's "
            f"{actor.ppo_mini_batch_size}: with a curriculum both are one number"
        )


def build(
    section: Plugin, size: int, batch: int, rollouts: int, seed: int | None, column: Column
) -> Curriculum:
    """The curriculum of a training set of `size` rows.

    Raises:
        ConfigError: as `gainrl.curricula.build`, or a column that it needs is not there.
        DataError: a cell of one is none that can be used.
    """
    composed = curricula.compose(section.curriculum, "gainrl.curriculum")
    if composed.goes_by:
        raise ConfigError(
            f"gainrl.curriculum: '{composed.name}' goes by {composed.goes_by}, which is not "
            "measured here"
        )
    needs = composed.sampler.needs
    if "features" in needs:
        raise ConfigError(
            "gainrl.curriculum: it needs the start model's prefill of every prompt, which only "
            "gainrl's own pipeline gives it"
        )
    found: dict[str, Any] = {}
    if "order" in needs:
        ranks = _numbers(section.order_column, "order_column", column)
        found["order"] = np.argsort(ranks, kind="stable").astype(np.int64)
    if "difficulty" in needs:
        found["difficulty"] = _numbers(section.difficulty_column, "difficulty_column", column)
    if "categories" in needs:
        values = list(map(str, _column(section.category_column, "category_column", column)))
        found["categories"] = _codes(values)
    chosen = section.seed if section.seed is not None else seed
    setting = Setting(size, batch, 0 if chosen is None else chosen, rollouts=rollouts, **found)
    return curricula.build(section.curriculum, setting)


def _codes(values: Sequence[str]) -> IntArray:
    codes = {value: code for code, value in enumerate(sorted(set(values)))}
    return np.array([codes[value] for value in values], dtype=np.int64)


def _column(name: str, key: str, column: Column) -> Sequence[Any]:
    try:
        return column(name)
    except KeyError as error:
        hint = "; `gainrl order` adds it" if name == "gainrl_rank" else ""
        known = nearest(name, error.args[0]) if isinstance(error.args[0], list) else ""
        raise ConfigError(
            f"gainrl.{key}: data.train_files has no column '{name}'{hint or known}"
        ) from None


def _numbers(name: str, key: str, column: Column) -> FloatArray:
    found = []
    for row, value in enumerate(_column(name, key, column)):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"data.train_files: row {row} (from 0): '{name}' is {value!r}, not a finite number"
            )
        found.append(number)
    return np.array(found)
