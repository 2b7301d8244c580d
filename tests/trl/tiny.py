"""A tiny random model, sums as prompts, and a run of `GRPOTrainer`: for TRL's own environment.

`python tiny.py model FOLDER` writes a model and its tokenizer. `python tiny.py train SETTINGS.json
...` trains, one run after another: what was drawn and rewarded as JSON lines, or what was refused.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

WORDS = [str(n) for n in range(40)] + ["+", "=", "?", "user", "assistant", ":"]
SIZE = 24


def write_model(folder: str) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<pad>", "<eos>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}"
        "{% if add_generation_prompt %}assistant : {% endif %}"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(names),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def train(settings: dict) -> None:
    import datasets
    import numpy as np
    from trl import GRPOConfig, GRPOTrainer

    rows = datasets.Dataset.from_list(
        [{"prompt": f"{n} + {n % 5} = ?", "answer": n + n % 5} for n in range(SIZE)]
    )
    out = Path(settings["out"])
    args = GRPOConfig(
        output_dir=str(out / "run"),
        max_steps=settings["steps"],
        max_completion_length=4,
        save_strategy="steps",
        save_steps=settings.get("save", 1000),
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=3,
        **{"shuffle_dataset": False, **settings["config"]},
    )
    seen = []

    def odd(prompts, completion_ids, answer, trainer_state, **more):
        """Right if the completion's tokens have an odd sum that suits the answer: by chance."""
        rewards = [
            float((sum(ids) + a) % 4 < 1 + a % 3)
            for ids, a in zip(completion_ids, answer, strict=True)
        ]
        seen.append(
            {
                "step": trainer_state.global_step,
                "rows": [int(p.split()[0]) for p in prompts],
                "rewards": rewards,
            }
        )
        return rewards

    callbacks = []
    if settings.get("kill"):
        from transformers import TrainerCallback

        class Kill(TrainerCallback):
            def on_step_end(self, args, state, control, **more):
                if state.global_step == settings["kill"]:
                    write(out, seen)
                    os._exit(9)

        callbacks.append(Kill())
    reward, dataset = odd, rows
    if settings["curriculum"]:
        from gainrl.integrations.trl import GRPOCurriculum

        more = dict(settings["curriculum"])
        size = np.arange(SIZE)
        given = {
            "gain": {"order": size[::-1], "signal": lambda drawn: np.asarray(drawn) / SIZE},
            "predicted": {
                "features": {
                    "tokens": size % 7.0,
                    "c_intra": size / SIZE,
                    "c_inter": np.cos(size),
                }
            },
        }.get(more["name"], {})
        curriculum = GRPOCurriculum(more, rows, args, **given)
        reward, dataset = curriculum.reward(odd), curriculum.dataset
        if settings.get("unwrapped"):
            reward = odd
        callbacks.append(curriculum)
    trainer = GRPOTrainer(settings["model"], reward, args, dataset, callbacks=callbacks)
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=settings.get("resume"))
    seen.append({"seconds": time.perf_counter() - began, "log": trainer.state.log_history[-2]})
    write(out, seen)


def write(out: Path, seen: list) -> None:
    (out / f"seen{os.environ.get('RANK', '')}.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in seen)
    )


if __name__ == "__main__":
    if sys.argv[1] == "model":
        write_model(sys.argv[2])
    else:
        for file in sys.argv[2:]:
            settings = json.loads(Path(file).read_text())
            try:
                train(settings)
            except Exception as error:  # noqa: BLE001 - the tests look at what it says
                Path(settings["out"], "error").write_text(f"{type(error).__name__}: {error}")
