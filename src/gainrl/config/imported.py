"""Objects that a preset names by import path, `module:Class`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from gainrl.errors import ConfigError, nearest


def imported(path: str, key: str) -> Any:
    """What `module:Class` names; modules of the working folder are found too.

    Args:
        key: where the preset says so, for the error message.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no such name.
    """
    module, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:  # a console script starts without it
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module)
    except (ImportError, SyntaxError, ValueError) as error:
        raise ConfigError(f"{key}: cannot import '{module}': {error}") from error
    if not hasattr(found, attribute):
        classes = [name for name, each in vars(found).items() if isinstance(each, type)]
        raise ConfigError(f"{key}: '{module}' has no '{attribute}'{nearest(attribute, classes)}")
    return getattr(found, attribute)
