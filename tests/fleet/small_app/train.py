"""The training of the small app: as slow and as large as `behaviour.json` of its commit says."""

import json
import os
import time
from pathlib import Path

behaviour = json.loads(Path("behaviour.json").read_text())
Path("model").mkdir()
with Path("model/model").open("wb") as file:
    for _ in range(behaviour.get("model_megabytes", 0)):
        file.write(os.urandom(1 << 20))
    file.write(os.environ["REVISION"].encode())
print("training", flush=True)
eaten = b"x" * (behaviour.get("trains_in_megabytes", 0) << 20)
while behaviour.get("floods"):
    print("x" * 1000)
time.sleep(behaviour.get("trains_for", 0))
Path("metrics.json").write_text('{"auc": 0.7}')
