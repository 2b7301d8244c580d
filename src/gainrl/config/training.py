"""The preset's `training`: the RL loop and its options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gainrl.config.base import Absent, Positive, Rate, Section, Share, Template
from gainrl.config.extra import Extra

Part = Annotated[float, Field(gt=0, le=1)]
RateSchedule = Literal["constant", "linear", "rex"]


class Downsample(Section):
    """Train on a part of a step's rollouts and of their tokens (D3S, arXiv 2509.22115).

    Each key is the share at the first RL step and at the last; between, it is linear in the step. A
    share that stays is written twice.
    """

    rollouts: tuple[Part, Part]
    """Of the step's rollouts, those of greatest absolute advantage."""
    tokens: tuple[Part, Part]
    """Of the tokens of these rollouts, those of greatest |advantage| * entropy."""

    def at(self, progress: float) -> tuple[float, float]:
        """The two shares at a progress from 0 (first step) to 1 (last step)."""
        (first, last), (begin, end) = self.rollouts, self.tokens
        rest = 1 - progress
        return rest * first + progress * last, rest * begin + progress * end


class Lora(Section):
    """Train low-rank adapters in place of the weights (LoRA, arXiv 2106.09685).

    A weight W becomes W + alpha / rank B A, with A (rank, n) and B (m, rank) alone trained. What
    is kept of a run is the merged model. A critic is trained whole.
    """

    rank: Positive = 32
    """Of the adapters."""
    alpha: Positive = 64
    """Scale: alpha / rank times the product."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Names of the modules that get one, as peft's `target_modules`: all linear ones but the head,
    or a list such as [q_proj, v_proj]."""


class Training(Section):
    """The RL loop; names are the field's."""

    backend: str = "local"
    """Who trains: a registered one (gainrl.plan.backends: 'local' in this process, 'verl' with
    FSDP2 and vLLM), `module:Class`, or an entry point of another package (docs/backends.md)."""
    steps: Positive = 200
    """RL steps of a run (paper, section 4)."""
    tokens: Annotated[Positive | None, Absent()] = None
    """Generated tokens that end a run, after the step that has spent them: those of all responses,
    of further draws and of estimates too. `steps` are then the most. So methods with small steps
    make more of them. None: all steps are made."""
    tests: Annotated[Positive | None, Absent()] = None
    """Tests of a run that ends by `tokens`, in place of `evaluation.every`: each after the step by
    which another such part of the tokens is spent, and one at the end. So methods whose steps
    differ are tested at the same tokens."""
    prompts: Positive = 1024
    """Prompts a step, n (paper, section 4)."""
    rollouts: Annotated[int, Field(ge=2)] = 8
    """Completions of a prompt: the size of its group (paper, appendix E.2)."""
    mini_batch: Positive | None = None
    """Prompts of an optimiser step, a divisor of `prompts` (paper: 256, appendix E.2); None is all,
    one optimiser step an RL step. The local trainer takes them in the order in which the curriculum
    drew: one that ranks its prompts has the first of them in the first step."""
    epochs: Annotated[Positive, Absent()] = 1
    """Passes of the optimiser over a step's rollouts, PPO's epochs: above 1 each rollout is trained
    on as often, and the clip binds."""
    target_kl: Annotated[float | None, Field(gt=0), Absent()] = None
    """Of `epochs` above 1: no further update of a step is made once the policy's divergence from
    the one that rolled out, at the tokens of a mini-batch, is above this (nats a token; r - 1 - log
    r with r the ratio). The record then has `epochs`, with the pass that came to that, and the
    divergence at the last pass, `approx_kl`. None makes all epochs."""
    lr: Rate = 1e-6
    """Learning rate of AdamW (paper, appendix E.2)."""
    lr_schedule: Annotated[RateSchedule, Absent()] = "constant"
    """How it falls over the `steps` of a run (gainrl.training.rate): not at all, as in the paper;
    linearly; or by REX, which stays high for longer. Not with `tokens`: a run that ends by them
    does not know when. A critic's stays."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Of AdamW."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Norm that the policy's gradient is clipped to (verl's)."""
    clip: float = Field(default=0.2, gt=0)
    """epsilon: how far the ratio of probabilities may move from 1 until a token has no gradient
    (verl's)."""
    clip_high: Annotated[float | None, Field(gt=0), Absent()] = None
    """epsilon above 1 alone, `clip` being that below (clip-higher; DAPO, arXiv 2503.14476, Eq. 10:
    0.28 with a `clip` of 0.2). None is `clip`."""
    clip_negative: Annotated[float | None, Field(gt=1), Absent()] = 3.0
    """c: where the advantage is negative, a ratio above c counts as c and its token has no gradient
    (dual clip, arXiv 1912.09729, Eq. 5; verl's, so the paper's). Not of GSPO. None is without."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the KL loss to the start model, low-variance estimate (paper: 0.001, appendix E.2);
    0 takes it out."""
    entropy: Annotated[float, Absent()] = 0.0
    """Weight of the policy's entropy in the loss, subtracted: above 0 it is kept high (a bonus),
    below 0 low. In nats a token, of what is trained on, averaged as the loss is."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the rollouts."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus that rollouts' tokens are drawn from; 1 is all of them."""
    max_prompt: Positive = 1024
    """Longest prompt, tokens (paper, appendix E.2); `datasets.*.overlong` says what becomes of a
    longer one."""
    max_response: Positive = 3000
    """Longest completion, tokens (paper, appendix E.2)."""
    micro_batch_tokens: Positive = 16384
    """Tokens of a forward and backward pass on a device; changes memory, not the update."""
    row_tokens: Positive = 512
    """Length of the rows that the local backend packs a prompt's completions into, tokens; changes
    time, not the update."""
    save_every: Positive = 20
    """RL steps from one checkpoint to the next, which an interrupted run goes on from (paper,
    appendix E.2)."""
    save_minutes: Annotated[float, Field(gt=0), Absent()] = 60.0
    """Minutes after which a checkpoint is written at the end of a step, whatever `save_every` says;
    changes no result."""
    keep_model: bool | Literal["tested"] = True
    """Whether the final model is kept as a Hugging Face folder, in the dtype of the start model,
    bf16 for most; 'tested': only of runs whose experiment has tests under a protocol (`final`),
    or whose weights a study follows (`studies.dynamics`)."""
    extra: Annotated[Extra | None, Absent()] = None
    """RL-Extra; None is without."""
    downsample: Annotated[Downsample | None, Absent()] = None
    """Train on a part of the rollouts and tokens; with no critic."""
    templates: Annotated[tuple[Template, ...], Absent()] = ()
    """Every step draws one of them for each prompt, in place of the data set's `prompt` (prompt
    augmentation, arXiv 2602.03190); tests and scores have the data set's."""
    lora: Annotated[Lora | None, Absent()] = None
    """Train adapters of low rank; None trains all weights. Rates are then some ten times
    higher."""
    format_weight: Annotated[Share, Absent()] = 0.0
    """Added to the reward of a completion that marks exactly one answer
    (gainrl.grading.maths.marks_once)."""

    @model_validator(mode="after")
    def _divides(self) -> Training:
        if self.mini_batch is not None and self.prompts % self.mini_batch:
            raise ValueError(f"mini_batch {self.mini_batch} does not divide prompts {self.prompts}")
        if self.tokens is not None and self.lr_schedule != "constant":
            raise ValueError(
                f"lr_schedule '{self.lr_schedule}' falls over `steps`, but `tokens` ends the run"
            )
        return self

    @model_validator(mode="after")
    def _adapts(self) -> Training:
        if self.lora and self.extra:
            raise ValueError("extra moves all weights, and with lora they stand still: say one")
        return self

    @model_validator(mode="after")
    def _by_tokens(self) -> Training:
        if (self.tokens is None) != (self.tests is None):
            raise ValueError("tokens and tests are said together, or neither is: a run that ends "
                             "by its tokens is tested by them")  # fmt: skip
        return self
