"""The start of the service: `gunicorn app:app`.

Reads the environment and the model; a process whose model is not whole never answers a request.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import artifact
import service
from feature_log import FeatureLog

# On this status gunicorn gives up; on most others it would start the worker again, for ever.
_APP_LOAD_ERROR = 4

try:
    _model = artifact.read(Path(os.environ.get("MODEL_DIR", "model")))
except artifact.ModelUnusable as error:
    print(f"ranker: {error}", file=sys.stderr, flush=True)
    sys.exit(_APP_LOAD_ERROR)

app = service.create(
    _model,
    service.Identity(
        revision=os.environ.get("REVISION", "unknown"),
        release=os.environ.get("RELEASE", "unknown"),
        slot=os.environ.get("SLOT", "unknown"),
    ),
    FeatureLog(Path(_log)) if (_log := os.environ.get("FEATURE_LOG")) else None,
)
