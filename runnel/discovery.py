"""Finding an app: by its name on the command line, and the modules that an app's setting `autodiscover` names."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from runnel.app import App
from runnel.entity.actor import REACH, Actor
from runnel.entity.contact import Contact
from runnel.errors import ConfigurationError, RunnelError
from runnel.processor import Processor
from runnel.stream import Stream

T = TypeVar("T")


def load(target: str, kind: type[T]) -> T:
    """The object that `module:attribute` names, looked up from the current folder. A class of actors stands for its processor.

    Raises:
        ConfigurationError: There is no such module or attribute, or it is something else, or the module fails when it
            is imported; then `__cause__` is its error.
        SyntaxError: The module has one; it says where better than we could.
    """
    return _load(target, (kind,))  # type: ignore[no-any-return]


def load_any(target: str) -> App | Stream[Any] | Processor:
    """As `load`, of an app, a stream, or a processor."""
    return _load(target, (App, Stream, Processor))  # type: ignore[no-any-return]


def _load(target: str, kinds: tuple[type, ...]) -> Any:
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise ConfigurationError(f"{target!r} must have the form module:{_example(kinds[0])}")
    module = found = _imported(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"module {module_name!r} has no {attribute!r}{_choices(module, kinds)}")
        found = getattr(found, part)
    found = _meant(found)
    if not isinstance(found, kinds):
        raise ConfigurationError(
            f"{target} is {_a(type(found))}, not {_any_of(kinds)}{_choices(module, kinds)}"
        )
    return found


def app_of(found: App | Stream[Any] | Processor) -> App:
    """The app that a stream or processor was declared in; the app itself.

    Raises:
        ConfigurationError: It is not an `App`.
    """
    match found:
        case App():
            return found
        case Processor():
            return app_of(found.stream)
    if not isinstance(found.app, App):
        raise ConfigurationError(f"stream {found.name!r} was not made by App.stream")
    return found.app


def discover(pattern: str) -> None:
    """Import every module below the current folder whose path fits the glob, so that it declares its processors."""
    here = Path.cwd()
    for path in sorted(here.glob(pattern)):
        if path.suffix == ".py":
            _imported(".".join(path.relative_to(here).with_suffix("").parts).removesuffix(".__init__"))


def _imported(name: str) -> ModuleType:
    if name.startswith("."):
        raise ConfigurationError(f"{name!r} is no module: write it from the current folder on, with dots, as in shop.orders")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            hint = f": leave out .py, {name.removesuffix('.py').replace('/', '.')!r}" if name.endswith(".py") else ""
            raise ConfigurationError(
                f"there is no module {name!r} in {here} or among the installed ones{hint}"
            ) from None
        raise _failed(name, error) from error
    except (RunnelError, SyntaxError):
        raise
    except Exception as error:
        raise _failed(name, error) from error


def _meant(found: object) -> Any:
    """What is declared by a class of actors; anything else is itself."""
    if not (isinstance(found, type) and issubclass(found, Actor)):
        return found
    contact = vars(found).get(REACH)
    if not isinstance(contact, Contact):
        raise ConfigurationError(f"actor {found.__name__!r} is not declared: put @app.actor(stream) before its class")
    return contact.processor


def _failed(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"module {name!r} cannot be imported: {type(error).__name__}: {error}")


def _choices(module: ModuleType, kinds: tuple[type, ...]) -> str:
    """What else of these kinds the module has, for whoever mistyped."""
    names = [name for name, value in vars(module).items() if isinstance(value, kinds) or _declares(value, kinds)]
    return f"; it has {', '.join(names)}" if names else f" and nothing else that is {_any_of(kinds)}"


def _any_of(kinds: tuple[type, ...]) -> str:
    return _a(kinds[0]) if len(kinds) == 1 else "an app, stream, processor or actor"


def _declares(value: object, kinds: tuple[type, ...]) -> bool:
    return Processor in kinds and isinstance(value, type) and REACH in vars(value)


def _a(kind: type) -> str:
    return f"an {kind.__name__}" if kind.__name__[0] in "AEIOaeio" else f"a {kind.__name__}"


def _example(kind: type) -> str:
    return {App: "app", Stream: "orders", Processor: "printer"}.get(kind, "attribute")
