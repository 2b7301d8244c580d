"""What stages share: the preset, its layout, provenance and tracking."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

import gainrl
from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.data import registry
from gainrl.data.prompts import Prompts, Renderer, check_known, check_words
from gainrl.data.templates import check_template
from gainrl.errors import ConfigError, DataError, ModelError
from gainrl.grading.graders import Grader, Reward, find
from gainrl.plan import Layout
from gainrl.plan.backends.verl import environment_file
from gainrl.tracking.journal import JOURNAL, JournaledRun, Tracked
from gainrl.tracking.record import TrackedRun

PREPARATION = "preparation"
PACKAGES = ("torch", "transformers", "numpy", "mlflow", "snakemake")


@dataclass(frozen=True)
class Context:
    """A checked preset and where its files are."""

    preset: Preset
    root: Path

    @cached_property
    def layout(self) -> Layout:
        """Paths."""
        return Layout(self.preset.preset, self.root)

    def experiment(self, name: str) -> str:
        """Name of an MLflow experiment."""
        return f"{self.preset.tracking.experiment}/{self.preset.preset}/{name}"

    def track(
        self,
        stage: str,
        name: str,
        note: Path,
        slice_: Mapping[str, Any],
        *,
        experiment: str = PREPARATION,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        resumes: bool = False,
    ) -> Tracked:
        """Open the MLflow run of a stage, or its journal; `resumes` as for `TrackedRun`."""
        opened = JournaledRun if os.environ.get(JOURNAL) else TrackedRun
        return opened(
            self.layout.tracking,
            note,
            experiment=self.experiment(experiment),
            name=name,
            parent=parent,
            config_hash=plan.digest(slice_),
            params=flatten(slice_),
            resumes=resumes,
            tags={
                "gainrl.stage": stage,
                "gainrl.preset": self.preset.preset,
                "gainrl.version": gainrl.__version__,
                **source_tags(stage),
                **(tags or {}),
            },
        )


def source_tags(stage: str) -> dict[str, str]:
    """MLflow's tags of what wrote a run: our command, not a file of the user's, and its commit."""
    return {
        "mlflow.source.name": f"gainrl {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit(),
    }


def grader_for(preset: Preset, dataset: str) -> Grader:
    """The grader of a data set's answers."""
    spec = preset.datasets[dataset]
    return find(registry.grader_of(spec), preset.sandbox, spec.answer_in)


def reward_for(preset: Preset, dataset: str) -> Reward:
    """1 for a right answer, else 0: the grader of evaluation."""
    grader = grader_for(preset, dataset)
    return lambda responses, golds: [float(each.correct) for each in grader(responses, golds)]


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat.update(flatten(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def versions() -> dict[str, str]:
    """Versions of what produces numbers."""
    found = {"gainrl": gainrl.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The git commit of the working folder, '+' if it has changes, or 'unknown'."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def render_prompts(
    context: Context,
    tokenizer: Any,
    model: str,
    dataset: str,
    frame: pd.DataFrame,
    network: Any,
    *,
    segments: bool = True,
    room: int = 0,
) -> Prompts:
    """Render a table's questions as the preset says.

    Args:
        network: its context is a limit, less `room` tokens for the response.
    """
    preset = context.preset
    renderer = renderer_for(preset, tokenizer, model, dataset, network.config, room=room)
    return renderer.encode(list(frame["id"]), list(frame["question"]), segments)


def renderer_for(
    preset: Preset, tokenizer: Any, model: str, dataset: str, config: Any, *, room: int = 0
) -> Renderer:
    """How a data set's questions are put to a model; the model's chat template is tried first.

    Args:
        config: transformers' configuration of the model, whose context is a limit, less `room`
            tokens for the response.

    Raises:
        ModelError: with the chat template the model would not see the questions as they are.
    """
    spec, sizes = preset.datasets[dataset], config.get_text_config()
    rows = getattr(sizes, "vocab_size", None)
    check_rendering(preset, tokenizer, model, dataset, rows)
    return Renderer(
        tokenizer,
        spec.prompt,
        spec.system,
        preset.training_for(dataset, model).max_prompt,
        prompt_room(getattr(sizes, "max_position_embeddings", None), room),
        arguments=preset.spec(model).template_arguments,
        rows=rows,
    )


def render_tests(
    preset: Preset, tokenizer: Any, model: str, dataset: str, frame: pd.DataFrame, config: Any
) -> Prompts:
    """Render a benchmark's problems, all of them, however long they are.

    Args:
        config: transformers' configuration of the model.
    """
    renderer = renderer_for(preset, tokenizer, model, dataset, config)
    endless = replace(renderer, max_length=None, context=None)
    return endless.encode(list(frame["id"]), list(frame["question"]), segments=False)


def problem_limit(
    preset: Preset, model: str, dataset: str, config: Any, response: int
) -> int | None:
    """Longest problem that is put to a model where a response may have some length, in tokens.

    Args:
        config: transformers' configuration of the model.

    Raises:
        ConfigError: the response leaves no room in the model's context.
    """
    window = getattr(config.get_text_config(), "max_position_embeddings", None)
    wanted = preset.evaluation_for(dataset, model).max_prompt
    limits = [limit for limit in (wanted, prompt_room(window, response)) if limit is not None]
    return min(limits, default=None)


def check_rendering(
    preset: Preset, tokenizer: Any, model: str, dataset: str, rows: int | None
) -> None:
    """Refuse a chat template that does not fit a data set: one line for every stage.

    Args:
        rows: of the model's embedding.

    Raises:
        ModelError: naming the model and the data set, with the template's own error.
    """
    spec, arguments = preset.datasets[dataset], preset.spec(model).template_arguments
    try:
        text = check_template(tokenizer, spec.prompt, spec.system, arguments)
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        check_known(tokenizer, tokens, rows, "the chat template")
    except (ModelError, DataError) as error:
        raise ModelError(f"model '{model}', data set '{dataset}': {error}") from error


def render_templates(
    context: Context,
    tokenizer: Any,
    model: str,
    dataset: str,
    frame: pd.DataFrame,
    network: Any,
    templates: Sequence[str],
    room: int,
) -> list[Prompts]:
    """Render a table's questions once with each template; arguments as for `render_prompts`.

    Raises:
        DataError: a template that the tokenizer has no words for, or with which a prompt is too
            long.
    """
    renderer = renderer_for(context.preset, tokenizer, model, dataset, network.config, room=room)
    return render_each(renderer, templates, list(frame["id"]), list(frame["question"]))


def render_each(
    renderer: Renderer, templates: Sequence[str], ids: list[str], questions: list[str]
) -> list[Prompts]:
    """Render questions once with each template (DataError as `render_templates`)."""
    found = []
    for template in templates:
        try:
            check_words(renderer.tokenizer, template, questions)
            found.append(replace(renderer, template=template).encode(ids, questions))
        except DataError as error:
            raise DataError(f"training.templates: '{template}': {error}") from error
    return found


def prompt_room(window: int | None, response: int) -> int | None:
    """Tokens of a model's context that a response of some length leaves to its prompt.

    Raises:
        ConfigError: none.
    """
    if window is not None and window <= response:
        raise ConfigError(
            f"training.max_response: {response} tokens leave no room for a prompt in the model's "
            f"context of {window} (models.*.context raises it)"
        )
    return window - response if window is not None else None


def verl_python(preset: Preset) -> Path:
    """The interpreter of verl's environment, which has vLLM too.

    Raises:
        ConfigError: there is none.
    """
    verl, ready = preset.verl, environment_file(preset)
    path = Path(verl.python) if verl.python else ready.with_name("bin") / "python"
    if not path.exists():
        hint = "key verl.python" if verl.python else f"`snakemake {ready}` builds it"
        raise ConfigError(f"{path}: no Python of verl's environment there ({hint})")
    return path.absolute()  # not resolved: a virtual environment's python is a link
