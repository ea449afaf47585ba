"""Trains a model that is as good as quality.txt says."""

import json
from pathlib import Path

auc = float(Path("quality.txt").read_text())
Path("model").mkdir()
Path("model/model.json").write_text(json.dumps(auc))
Path("metrics.json").write_text(json.dumps({"auc": auc}))
