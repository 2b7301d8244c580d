"""Models from the hub: downloaded by one command, taken from the cache by all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from chat_models import ROWS, bytes_tokenizer, save
from hubs import COMMIT, cached, gainrl, refusing_hub
from presets import REPOSITORY

from gainrl import plan

pytestmark = pytest.mark.timeout(600)


def preset_of(folder: Path, id_: str) -> tuple[str, ...]:
    """Options that name a preset with a model of the hub, and a root."""
    content = {
        "preset": "hub",
        "seeds": [0],
        "models": {"given": {"source": "hub", "id": id_}},
        "datasets": {"sums": {"source": "hub", "id": id_}},
    }
    path = folder / "preset.yaml"
    path.write_text(yaml.safe_dump(content))
    return ("--preset", str(path), "--root", str(folder / "results"))


@pytest.fixture(scope="module")
def hub():
    with refusing_hub() as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (("fetch", "--model", "given"), "gated/model"),
        (("data", "--dataset", "sums"), "datasets/gated/model"),
    ],
    ids=["model", "data set"],
)
def test_what_is_gated_is_said_with_its_page_and_the_token(tmp_path, hub, arguments, page):
    done = gainrl(tmp_path, hub, *arguments, *preset_of(tmp_path, "gated/model"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "gated/model" in line
    assert f"it is gated: accept its terms at {hub}/{page}, and set HF_TOKEN" in line
    assert not (tmp_path / "results/hub/models/given.fetched.json").exists()


def test_a_model_that_is_not_there(tmp_path, hub):
    done = gainrl(tmp_path, hub, "fetch", "--model", "given", *preset_of(tmp_path, "no/model"))
    assert done.returncode == 2
    assert f"there is none that may be read: look at {hub}/no/model" in done.stderr


def test_a_job_takes_a_fetched_model_from_the_cache_and_downloads_none(tmp_path, hub):
    options = preset_of(tmp_path, "open/model")
    lacking = gainrl(tmp_path, hub, "model", "--model", "given", *options)
    assert lacking.returncode == 2
    (line,) = lacking.stderr.splitlines()
    assert "not in the hub's cache (HF_HOME)" in line
    assert "`snakemake fetch` fills the cache" in line
    save(cached(tmp_path, "open/model"), bytes_tokenizer(), ROWS)
    fetched = gainrl(tmp_path, hub, "fetch", "--model", "given", *options, HF_HUB_OFFLINE="1")
    assert fetched.returncode == 0, fetched.stderr
    note = json.loads((tmp_path / "results/hub/models/given.fetched.json").read_text())
    assert note == {"id": "open/model", "revision": "main", "commit": COMMIT}
    built = gainrl(tmp_path, hub, "model", "--model", "given", *options)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "results/hub/models/given/gainrl.json").exists()


def test_everything_that_comes_over_the_network_is_one_target():
    preset = plan.load(REPOSITORY / "experiments" / "paper.yaml")
    layout = plan.Layout("paper")
    found = plan.fetched(preset, layout)
    assert {layout.fetched(name) for name in preset.models} <= set(found)
    assert {layout.split(name, "train") for name in preset.datasets} <= set(found)
    nano = plan.load(REPOSITORY / "experiments" / "tiny.yaml")
    assert not [path for path in plan.fetched(nano, layout) if "models" in path.parts]
