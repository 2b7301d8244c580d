"""Whether a model folder holds what it says: plain weights, all of them, each a finite number."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from gainrl.errors import DataError, ModelError
from gainrl.records import read_json

FORMATS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Weights in one file, or the index of several; in the order in which transformers looks."""
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
QUANTISERS = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
"""Notes that quantisers leave beside config.json, and whose they are."""
_MASKS = re.compile(r"(masked_bias|attn\.bias|attention\.bias|inv_freq|position_ids)$")
"""Constants that older versions of transformers stored with the weights."""


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers would read the weights from, in name order.

    Raises:
        ModelError: there are none, or their index cannot be read.
    """
    for whole, index in FORMATS:
        if (folder / whole).exists():
            return [folder / whole]
        if (folder / index).exists():
            try:
                parts = set(read_json(folder / index)["weight_map"].values())
                return [folder / part for part in sorted(parts)]
            except (DataError, KeyError, TypeError, AttributeError) as error:
                raise ModelError(f"{folder / index}: not an index of weights") from error
    kinds = " or ".join(whole for whole, _ in FORMATS)
    raise ModelError(f"{folder}: no weights there ({kinds}, or an index of several files)")


def check_files(folder: Path) -> int:
    """Refuse weights of which a file is missing or cut off; headers are read, and no weight.

    Returns:
        The number of files.

    Raises:
        ModelError: as `weight_files`; or a file that an index names is missing, or is damaged.
    """
    files = weight_files(folder)
    for path in files:
        if not path.exists():
            raise ModelError(f"{path}: no such file, and the folder's index names it")
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt"):  # compares header and size
                    pass
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: damaged or cut off: {error}") from error
    return len(files)


def check_plain(folder: Path) -> None:
    """Refuse adapters and quantised weights: they would be left out or misread.

    Raises:
        ModelError: the folder holds one of them.
    """
    found = [name for name in ADAPTERS if (folder / name).exists()]
    if found:
        raise ModelError(
            f"{folder}: holds an adapter{_base_of(folder)} ({', '.join(found)}), which would be "
            "left out: merge it into its base with peft's merge_and_unload, write that with "
            "save_pretrained and name that folder; if it is merged already, remove these files"
        )
    method = _quantiser(folder)
    if method:
        raise ModelError(
            f"{folder}: its weights are quantised ({method}), which is neither scored nor trained "
            "here: name an unquantised checkpoint (bfloat16, float16 or float32) of the model"
        )


def _base_of(folder: Path) -> str:
    path = folder / "adapter_config.json"
    about = _read(path) if path.exists() else {}
    base = about.get("base_model_name_or_path")
    return f" of '{base}'" if base else ""


def _quantiser(folder: Path) -> str | None:
    path = folder / "config.json"
    config = _read(path) if path.exists() else {}
    inner = [part for part in config.values() if isinstance(part, Mapping)]  # of parts of a model
    for part in (config, *inner):
        for key in ("quantization_config", "compression_config"):
            if about := part.get(key):
                about = about if isinstance(about, Mapping) else {}
                loaded = about.get("load_in_4bit") or about.get("load_in_8bit")
                return str(about.get("quant_method") or ("bitsandbytes" if loaded else key))
    return next((who for name, who in QUANTISERS.items() if (folder / name).exists()), None)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path)
    except (DataError, OSError):  # loading says what is wrong with the folder
        return {}
    return found if isinstance(found, Mapping) else {}


def check_names(folder: Path, model: Any, info: Mapping[str, Any]) -> list[str]:
    """Refuse a checkpoint that is not the weights of the model that its config.json describes.

    Args:
        info: what transformers tells with output_loading_info; tied heads are not among it.

    Returns:
        The names of stored weights that belong to no part of the model (heads for other tasks).

    Raises:
        ModelError: weights are missing, of another shape, or more than a part of the model has.
    """
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:
        others = f", and has {_listed(unexpected)} instead" if unexpected else ""
        raise ModelError(
            f"{folder}: the checkpoint lacks {_listed(missing)}, which would be drawn at random"
            f"{others}: save the whole model with save_pretrained, or mend config.json"
        )
    shapes = sorted((name, list(got), list(due)) for name, got, due in info["mismatched_keys"])
    if shapes:
        told = [f"{name} {got} for {due}" for name, got, due in shapes]
        raise ModelError(f"{folder}: not of config.json's shape: {_listed(told)}; mend config.json")
    adapters = [name for name in unexpected if ".lora_" in name]
    if adapters:
        raise ModelError(
            f"{folder}: {_listed(adapters)} of an adapter would be left out: merge it into its "
            "base with peft's merge_and_unload and name the folder that save_pretrained writes"
        )
    more = [name for name in unexpected if _inside(name, model)]
    if more:
        raise ModelError(
            f"{folder}: the model of config.json has no place for {_listed(more)}, which the "
            "checkpoint holds: other layers, other biases or quantised weights; mend config.json"
        )
    return [name for name in unexpected if not _MASKS.search(name)]


def _inside(name: str, model: Any) -> bool:
    """Whether a part of the model would have the weight, were it built as the checkpoint's was."""
    if _MASKS.search(name) or _predicts_further(name, model.config.get_text_config()):
        return False
    parts = name.split(".")
    above = {".".join(parts[:end]) for end in range(1, len(parts))}
    modules = {name for name, _ in model.named_modules()} - {"", model.base_model_prefix}
    return bool(above & modules)


def _predicts_further(name: str, config: Any) -> bool:
    """Whether a weight is of a layer for multi-token prediction, stored after the decoder's."""
    layer = re.search(r"\blayers\.(\d+)\.", name)
    extra = getattr(config, "num_nextn_predict_layers", None)
    return bool(layer and extra and int(layer[1]) >= config.num_hidden_layers)


def _listed(names: list[str]) -> str:
    """The first few, and how many there are."""
    shown = ", ".join(names[:3])
    more = ", ..." if len(names) > 3 else ""
    return f"'{shown}'" if len(names) == 1 else f"{len(names)} weights ({shown}{more})"


def check_finite(folder: Path, by: str = "") -> None:
    """Refuse weights that are NaN or infinite, or stored in 8 bits without a word in config.json.

    Args:
        by: what made them, for the message.

    Raises:
        ModelError: there is such a tensor, or a file cannot be read.
    """
    for path in weight_files(folder):
        for name, tensor in _tensors(path):
            if _MASKS.search(name):
                continue  # in half precision a mask is -inf
            if tensor.dtype.itemsize == 1 and name.endswith("weight"):
                raise ModelError(
                    f"{path}: the weight '{name}' is quantised ({str(tensor.dtype)[6:]}): name an "
                    "unquantised checkpoint of the model"
                )
            if tensor.is_floating_point() and tensor.numel() and not _finite(tensor):
                raise ModelError(
                    f"{path}: the weight '{name}' is not finite{by} (NaN or infinite values)"
                )


def _finite(tensor: torch.Tensor) -> bool:
    """Without the copies that `torch.isfinite` makes of a large tensor."""
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """A file's tensors, mapped from the disk where the format allows it."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for name in list(file.keys()):
                    yield name, file.get_tensor(name)
        else:
            yield from _pickled(path)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: cannot read the weights: {reason}") from error


def _pickled(path: Path) -> Iterable[tuple[str, torch.Tensor]]:
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(stored, Mapping):
        raise ModelError(f"{path}: not a table of weights")
    return [(name, each) for name, each in stored.items() if isinstance(each, torch.Tensor)]
