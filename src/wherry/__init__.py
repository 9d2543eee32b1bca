"""wherry: an application container platform; every box of the Docker family, in Python.

The package body imports nothing, because the OCI runtime starts through it in milliseconds;
`wherry.Engine` is loaded on first use.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine.compose import Engine as Engine

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Engine":
        from wherry.engine.compose import Engine

        return Engine
    raise AttributeError(f"module 'wherry' has no attribute {name!r}")
