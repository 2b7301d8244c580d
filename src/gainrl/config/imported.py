"""Objects that a preset names by import path: `module:name` or `folder/file.py:name`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from gainrl.errors import ConfigError, nearest


def imported(path: str, key: str) -> Any:
    """What `module:name` or `file.py:name` names; modules of the working folder are found too.

    Args:
        key: where the preset says so, for the error message.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no such name.
    """
    module, _, attribute = path.rpartition(":")
    if os.getcwd() not in sys.path:  # a console script starts without it
        sys.path.append(os.getcwd())
    try:
        found = _file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever somebody else's module may raise
        raise ConfigError(f"{key}: cannot import '{module}': {_reason(error)}") from error
    if not hasattr(found, attribute):
        names = [name for name, each in vars(found).items() if callable(each)]
        raise ConfigError(f"{key}: '{module}' has no '{attribute}'{nearest(attribute, names)}")
    return getattr(found, attribute)


def _reason(error: BaseException) -> str:
    """An error on one line, with the line that raised it if it is not about the import itself."""
    text = " ".join(str(error).split())
    if isinstance(error, ImportError | SyntaxError | OSError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({last.filename}, line {last.lineno})"


def absolute(path: str) -> str:
    """An import path that says the same in another working folder, if it names a file."""
    module, _, attribute = path.rpartition(":")
    return f"{Path(module).resolve()}:{attribute}" if module.endswith(".py") else path


def _file(path: Path) -> ModuleType:
    """A file's module, made once; one that classes are pickled by is found again by its name."""
    name = f"gainrl_own_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
