"""Sections of a preset that describe methods: what is composed into one. No torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from gainrl.config.base import Absent, Positive, Rate, Section, Share, Template
from gainrl.config.extra import Extra
from gainrl.config.training import Downsample, RateSchedule

Order = Literal["angle", "offdiagonal", "residual", "released", "length", "reversed", "shuffled"]
WEIGHTED = ("angle", "offdiagonal", "residual", "reversed")
"""Orders that depend on the weight of C_inter."""


class CurriculumPart(Section):
    """A part of a curriculum and its own parameters, or its name alone.

    The names of parts and parameters are checked by gainrl.curricula.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    """A registered one (docs/curricula.md), `module:Class`, or an entry point of another package;
    further keys are its parameters."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters as written in the preset."""
        return dict(self.model_extra or {})


class Composition(Section):
    """A curriculum of parts: what to draw, what to admit to the update, how many rollouts."""

    sampler: CurriculumPart
    """What to draw."""
    filter: Annotated[CurriculumPart | None, Absent()] = None
    """Which groups to admit to the update; all without."""
    rollouts: Annotated[CurriculumPart | None, Absent()] = None
    """How many rollouts each prompt gets; training.rollouts without."""


PARTS = tuple(Composition.model_fields)


def _form(value: Any) -> str:
    """Which of the two forms a method's curriculum has; parameters of a part may have any name."""
    composed = (
        isinstance(value, dict) and "name" not in value and not value.keys().isdisjoint(PARTS)
    )
    return "composed" if composed or isinstance(value, Composition) else "named"


Curriculum = Annotated[
    Annotated[CurriculumPart, Tag("named")] | Annotated[Composition, Tag("composed")],
    Discriminator(_form),
]


class Selection(Section):
    """Train on a part of the data set (Figure 8): a share drawn once, by rank in the order."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the prompts, which is drawn."""
    slope: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Of the linear drawing probability over the ranks, from the first to the last: 1 goes from 2 /
    N to 0 (high C preferred), 0 is uniform, -1 the mirror image."""


class Changes(Section):
    """Training keys that a method sets for itself; what is left out is as for every method."""

    prompts: Positive | None = None
    """As training.prompts."""
    mini_batch: Positive | None = None
    """As training.mini_batch."""
    rollouts: Annotated[int, Field(ge=2)] | None = None
    """As training.rollouts."""
    epochs: Annotated[Positive | None, Absent()] = None
    """As training.epochs."""
    target_kl: Annotated[float | None, Field(gt=0), Absent()] = None
    """As training.target_kl."""
    lr: Rate | None = None
    """As training.lr."""
    lr_schedule: Annotated[RateSchedule | None, Absent()] = None
    """As training.lr_schedule."""
    clip: Annotated[float | None, Field(gt=0), Absent()] = None
    """As training.clip."""
    clip_high: Annotated[float | None, Field(gt=0), Absent()] = None
    """As training.clip_high."""
    entropy: Annotated[float | None, Absent(also=(0.0,))] = None
    """As training.entropy."""
    extra: Annotated[Extra | None, Absent()] = None
    """As training.extra."""
    downsample: Annotated[Downsample | None, Absent()] = None
    """As training.downsample."""
    templates: Annotated[tuple[Template, ...] | None, Absent(also=((),))] = None
    """As training.templates."""
    format_weight: Annotated[Share | None, Absent(also=(0.0,))] = None
    """As training.format_weight."""

    @property
    def given(self) -> dict[str, Any]:
        """The keys that are set."""
        return self.model_dump(exclude_none=True)


class Method(Section):
    """A composition: algorithm, curriculum, what it walks, what it is trained on."""

    algorithm: str = "grpo"
    """A registered one (gainrl.training.algorithms), such as grpo; those with a critic have the
    keys `ppo` besides."""
    curriculum: Curriculum
    """A curriculum's name, a mapping of `name` and its parameters, or parts that compose one."""
    order: Order | None = None
    """The ranks that the curriculum walks or `selection` draws by; descending C but for length,
    reversed (ascending C) and shuffled."""
    inter_weight: float | None = Field(default=None, ge=0)
    """c in C = C_intra + c * C_inter (Table 4) for this method's order and curriculum, in place of
    `scoring.inter_weight`."""
    difficulty: Literal["measured", "column", "published"] | None = None
    """Where the curriculum's difficulties are from: measured pass rates of the start model, the
    data set's column, or what others have published (`datasets.*.difficulty: published`), which is
    measured for data sets without."""
    selection: Selection | None = None
    """Train on a part of the data set."""
    training: Changes = Changes()
    """Training keys that this method sets for itself."""
    label: str | None = None
    """How tables and figures call it; None is its name."""

    @model_validator(mode="after")
    def _fits(self) -> Method:
        if self.selection and self.order is None:
            raise ValueError("selection draws by rank: it needs the key 'order'")
        if self.inter_weight is not None and self.order not in WEIGHTED:
            raise ValueError(f"inter_weight needs an order that depends on it: {WEIGHTED}")
        return self

    @property
    def order_key(self) -> str | None:
        """Name of the order's file: the order, with its weight if the method has its own."""
        if self.order is None or self.inter_weight is None:
            return self.order
        return f"{self.order}-c{self.inter_weight:g}"


def parse_order(key: str) -> tuple[str, float | None]:
    """The order and the weight of an order's file name (`Method.order_key`).

    Raises:
        ValueError: not such a name.
    """
    name, marked, weight = key.partition("-c")
    if name not in get_args(Order) or (marked and name not in WEIGHTED):
        raise ValueError(f"unknown order '{key}'")
    return name, float(weight) if marked else None
