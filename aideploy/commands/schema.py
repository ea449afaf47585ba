"""`fab schema`: the JSON Schema of hosts.toml, for editors. Opens no connection."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aideploy.errors import AideployError
from aideploy.report.output import Output
from aideploy.settings.schema import json_schema


def print_schema(file: Path | None) -> None:
    """Print the schema, or write it to a file, and say how an editor comes to know of it.

    Raises:
        AideployError: the file cannot be written.
    """
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    out = Output(sys.stdout)
    if file is None:
        out.write(text)
        out.flush()
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AideployError(f"{file} cannot be written", why=error.strerror or str(error)) from None
    out.line(f"Wrote {file}. Editors that know Taplo take it from the first line of hosts.toml:")
    out.line(f"  #:schema {file}")
