# In front of the texts of Python modules that travel to a host together: makes modules of them, so
# that those behind can import those before.
import sys
import types


def load(name: str, text: str) -> types.ModuleType:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)  # noqa: S102  # our own text
    return module
