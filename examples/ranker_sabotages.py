"""The example application, spoiled in the ways in which models really go wrong.

Used by the tests, which deploy one after the other: each trains a real model and then does to it,
or to the program that serves it, what no metric of the training shows. A sabotage is
`examples/ranker` with small exact edits, as in `ranker_versions.py`.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from ranker_versions import Edit, write

_KEPT = 'artifact.write(Path("model"), SPEC, weights, training)'


def _before_it_is_kept(line: str) -> Edit:
    return Edit("train.py", _KEPT, f"{line}\n    {_KEPT}")


def _after_it_was_kept(line: str) -> Edit:
    return Edit("train.py", _KEPT, f"{_KEPT}\n    {line}")


class Sabotage(Enum):
    """What was done to a release; the value is the edits that do it."""

    NAN_WEIGHTS = (_before_it_is_kept("weights[:] = np.nan"),)
    # It predicts that there is no click.
    SWAPPED_LABELS = (_before_it_is_kept("weights *= -1"),)
    # The feature that everybody has counts twice.
    FEATURE_SCALED_TWICE = (_before_it_is_kept("weights[touched[0, 0]] *= 2"),)
    # Only that feature is left.
    CONSTANT = (_before_it_is_kept("weights[np.arange(len(weights)) != touched[0, 0]] = 0"),)
    TRUNCATED = (
        _after_it_was_kept(
            'with Path("model/weights.npz").open("r+b") as file: file.truncate(999)'
        ),
    )
    OTHER_LIBRARY = (Edit("artifact.py", '"format": _FORMAT,', '"format": _FORMAT + 1,'),)
    # The model is read anew for each feature of each ad.
    SLOW = (
        Edit(
            "service.py",
            "predicted = probabilities(model.weights, model.spec.weights_for(columns))",
            "import artifact, os, pathlib\n"
            '        folder = pathlib.Path(os.environ["MODEL_DIR"])\n'
            "        touched = model.spec.weights_for(columns)\n"
            "        read = [artifact.read(folder) for _ in touched.flat]\n"
            "        predicted = probabilities(read[0].weights, touched)",
        ),
    )
    # A copy of the weights for each of 300 ads.
    LEAKS_AT_LOAD = (
        Edit(
            "app.py",
            "app = service.create(",
            "_of_each_ad = [_model.weights.copy() for _ in range(300)]\n\napp = service.create(",
        ),
    )

    def write(self, folder: Path) -> None:
        """Write the spoiled application into the folder.

        Raises:
            EditDoesNotFit: `examples/ranker` has changed.
        """
        write(folder, *self.value)
