"""Steps of verl's training worker with our engine, in verl's environment, without Ray and vLLM.

python worker_steps.py MODEL FOLDER FIRST LAST [CHECKPOINT]: the RL steps FIRST to LAST on made-up
answers (verl's loss of supervised training), two epochs of two mini-batches each; from a checkpoint
if one is given. Writes weights.pt and step-<n>/ (a checkpoint) after each step, and what probe.py
notes. The variable LORA has keys of verl's model config.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

import torch
from verl.utils import tensordict_utils as tu
from verl.workers.config import (
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    TrainingWorkerConfig,
)
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import sft_loss

import gainrl.training.verl.engine  # noqa: F401

EXACT = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
SAVED = ["model", "optimizer", "extra", "hf_model"]
LOADED = ["model", "optimizer", "extra"]
EPOCHS, MINI_BATCHES, SAMPLES = 2, 2, 4


def build(model):
    """The worker that verl builds for an actor, on this process alone."""
    from verl.trainer.config import CheckpointConfig

    lora = json.loads(os.environ.get("LORA", "{}"))
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=HFModelConfig(
                path=model, override_config={"attn_implementation": "sdpa"}, **lora
            ),
            engine_config=FSDPEngineConfig(
                strategy="fsdp2",
                mixed_precision=EXACT,
                use_torch_compile=False,
                use_dynamic_bsz=True,
                max_token_len_per_gpu=64,
            ),
            optimizer_config=FSDPOptimizerConfig(lr=1e-2, total_training_steps=100),
            checkpoint_config=CheckpointConfig(
                save_contents=SAVED, load_contents=LOADED, save_lora_only=bool(lora)
            ),
        )
    )
    worker.reset()
    worker.set_loss_fn(partial(sft_loss, None))
    return worker


def batch(step):
    """Made-up sequences of unlike lengths, the same for the same step."""
    generator = torch.Generator().manual_seed(step)
    lengths = [9, 12, 7, 10]
    ids = [torch.randint(2, 100, (n,), generator=generator) for n in lengths]

    def nested(rows):
        return torch.nested.as_nested_tensor(rows, layout=torch.jagged)

    tensors = {
        "input_ids": nested(ids),
        "position_ids": nested([torch.arange(n) for n in lengths]),
        "loss_mask": nested([torch.ones(n) for n in lengths]),
    }
    return tu.get_tensordict(
        tensors,
        {
            "mini_batch_size": SAMPLES // MINI_BATCHES,
            "epochs": EPOCHS,
            "temperature": 1.0,
            "global_batch_size": SAMPLES // MINI_BATCHES,
        },
    )


def main(model, folder, first, last, checkpoint=None):
    worker = build(model)
    if checkpoint:
        worker.load_checkpoint(checkpoint)
    for step in range(int(first), int(last) + 1):
        worker.train_mini_batch(batch(step))
        target = Path(folder) / f"step-{step}"
        worker.save_checkpoint(str(target), global_step=step)
        held = [weight.full_tensor().detach() for weight in worker.engine.module.parameters()]
        state = [float(entry["step"]) for entry in worker.engine.optimizer.state.values()]
        pushed = dict(worker.engine.get_per_tensor_param()[0])
        note = {"weights": held, "counts": state, "pushed": list(pushed)}
        if worker.engine._is_lora:
            note["sent"] = {name: weight for name, weight in pushed.items()}
        torch.save(note, target / "weights.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
