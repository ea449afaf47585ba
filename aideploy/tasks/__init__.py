"""The tasks: arguments in, one call, an exit status out. `fab --list` shows them."""

from .deploying import deploy

__all__ = ["deploy"]
