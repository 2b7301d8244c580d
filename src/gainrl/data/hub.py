"""What to do where the Hugging Face hub does not give a model or a data set. Light imports only."""

from __future__ import annotations

from typing import Literal

Kind = Literal["model", "dataset"]


def advice(error: BaseException, kind: Kind, id_: str) -> str | None:
    """What helps against an error of the hub's libraries, or None if only its own words can say.

    Args:
        error: what was raised, whose causes are looked at too.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{id_ if kind == 'model' else f'datasets/{id_}'}"
    for each in _causes(error):
        # `datasets` raises an error of its own "from None", which only says so in words.
        if isinstance(each, GatedRepoError) or "is a gated dataset on the Hub" in str(each):
            return (
                f"it is gated: accept its terms at {page}, and set HF_TOKEN to a token of that "
                "account"
            )
        if isinstance(each, RepositoryNotFoundError):
            return f"there is none that may be read: look at {page}; a private one needs HF_TOKEN"
        if constants.HF_HUB_OFFLINE and isinstance(
            each, LocalEntryNotFoundError | OfflineModeIsEnabled
        ):
            return (
                "it is not in the hub's cache (HF_HOME), and nothing is downloaded here "
                "(HF_HUB_OFFLINE): `snakemake fetch` fills the cache"
            )
    return None


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    ahead: BaseException | None = error
    while ahead is not None and ahead not in found:
        found.append(ahead)
        ahead = ahead.__cause__ or ahead.__context__
    return found
