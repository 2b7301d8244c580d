"""The preset's `tracking`: where MLflow records runs. No torch."""

from __future__ import annotations

from pydantic import Field, field_validator

from gainrl.config.base import Section


class Tracking(Section):
    """Where MLflow records runs."""

    uri: str | None = None
    """The store; None is sqlite:///results/mlflow.db. The environment variable MLFLOW_TRACKING_URI
    wins."""
    experiment: str = Field(default="gainrl", max_length=200)
    """What the names of its experiments begin with; artifacts lie in folders of that name."""

    def is_file(self, variable: str | None) -> bool:
        """Whether the store is a file, which machines cannot share, and no server.

        Args:
            variable: MLFLOW_TRACKING_URI, which wins.
        """
        return (variable or self.uri or "sqlite:").startswith(("sqlite:", "file:", "/", "."))

    @field_validator("experiment")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        parts = value.removeprefix("/").split("/")
        if any(part.strip() in ("", ".", "..") for part in parts):
            raise ValueError(f"{value!r} is no path of names")
        if odd := next((c for c in value if c in "#?%\\" or not c.isprintable()), None):
            raise ValueError(f"{value!r} has {odd!r}, which an address of artifacts cannot have")
        return value
