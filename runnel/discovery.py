"""Finding an app: by its name on the command line, and the modules that an app's setting `autodiscover` names."""

import importlib
import sys
from pathlib import Path
from typing import Any

from runnel.errors import ConfigurationError


def load(target: str, kind: type, what: str) -> Any:
    """The object that `module:attribute` names, looked up from the current folder.

    Raises:
        ConfigurationError: There is no such module or attribute, or it is something else; errors of the module's own
            come as they are.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise ConfigurationError(f"{target!r} must have the form module:{what}")
    found = _module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"module {module_name!r} has no attribute {attribute!r}")
        found = getattr(found, part)
    if not isinstance(found, kind):
        raise ConfigurationError(f"{target} is a {type(found).__name__}, not a {kind.__name__}")
    return found


def discover(pattern: str) -> None:
    """Import every module below the current folder whose path fits the glob, so that it declares its processors."""
    here = Path.cwd()
    for path in sorted(here.glob(pattern)):
        if path.suffix == ".py":
            _module(".".join(path.relative_to(here).with_suffix("").parts).removesuffix(".__init__"))


def _module(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigurationError(f"there is no module {name!r} in {here} or among the installed ones") from error
        raise
