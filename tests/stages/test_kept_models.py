"""Which trained models are kept, and in which dtype."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest
import torch
from chat_models import ROWS, bytes_tokenizer, context_of, save
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gainrl import plan
from gainrl.errors import ModelError
from gainrl.models import tensors
from gainrl.models.recast import recast
from gainrl.plan import RunKey
from gainrl.stages import data, evaluate, prepare, prompts
from gainrl.stages.common import Context
from gainrl.stages.runs import train
from gainrl.stages.tracking import initialise_tracking

pytestmark = pytest.mark.usefixtures("one_thread")
PLACE, KEY = ("mine", "sums"), RunKey("mine", "sums", "grpo", 0)


def changed(context: Context, keep, final=()) -> Context:
    """The preset with another `keep_model`, and protocols of the final tests."""
    content = context.preset.model_dump()
    content["training"]["keep_model"] = keep
    content["experiments"]["t"]["final"] = list(final)
    return replace(context, preset=plan.load(content))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Everything before the training of a model in bf16."""
    root = tmp_path_factory.mktemp("kept")
    folder = save(root / "given", bytes_tokenizer(), ROWS)
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    context = context_of(root, folder)
    initialise_tracking(context)
    data.prepare_data(context, "sums")
    prepare.build_model(context, "mine")
    prompts.choose_prompts(context, *PLACE)
    evaluate.evaluate_start(context, *PLACE)
    return context


@pytest.mark.parametrize(
    ("keep", "final", "kept"),
    [
        (True, (), True),
        (False, (), False),
        ("tested", (), False),
        ("tested", ("paper",), True),
    ],
)
def test_a_trained_model_is_kept_in_the_start_models_dtype_where_it_is_wanted(
    made, keep, final, kept
):
    context = changed(made, keep, final)
    train(context, [KEY])
    folder = context.layout.trained(KEY)
    assert folder.exists() == kept
    if kept:
        found = load_file(folder / "model.safetensors")
        assert {each.dtype for each in found.values()} == {torch.bfloat16}
        assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16


def test_a_test_that_is_added_trains_again_and_nothing_else_changes_a_runs_hash(made):
    def slice_of(keep, final=()):
        return plan.run_slice(changed(made, keep, final).preset, "mine", "sums", "grpo")

    assert slice_of("tested") == slice_of(False) != slice_of("tested", ["paper"])
    assert slice_of("tested", ["paper"]) == slice_of(True) == slice_of(True, ["paper"])
    assert slice_of(True)["training"]["keep_model"] is True


def test_a_full_disk_while_weights_are_rounded(made, tmp_path, monkeypatch):
    folder = save(tmp_path / "trained", bytes_tokenizer(), ROWS)
    before = (folder / "model.safetensors").read_bytes()

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(tensors.os, "fsync", full)
        with pytest.raises(ModelError, match=r"trained: cannot write the model: No space left"):
            recast(folder, made.layout.model("mine"))
    assert (folder / "model.safetensors").read_bytes() == before
    assert not list(folder.glob(".*"))
