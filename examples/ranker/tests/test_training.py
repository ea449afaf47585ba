"""What training promises: a model better than guessing, the same one for the same data."""

import contextlib
import io
import json
import os
import tempfile
import unittest
import zipfile
from pathlib import Path

import numpy as np

import artifact
import evaluation
import reference
import traffic
import train


def trained(folder: Path, *options: str) -> str:
    """Run `train.py` in the folder as a deploy does; what it printed."""
    folder.mkdir(exist_ok=True)
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        train.main(options)
    return printed.getvalue()


class Training(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def test_a_little_data_already_beats_guessing(self) -> None:
        trained(self.folder, "--rows", "30000")
        metrics = json.loads((self.folder / "metrics.json").read_text())
        data = traffic.generate(30_000, seed=1)
        held_out = data.day >= train.FIRST_HELD_OUT_DAY
        base_rate = data.clicked[~held_out].mean()
        guessing = np.full(held_out.sum(), base_rate)

        self.assertGreater(metrics["auc"], 0.6)
        self.assertLess(metrics["log_loss"], evaluation.log_loss(guessing, data.clicked[held_out]))
        self.assertEqual(metrics["rows"], held_out.sum())
        self.assertEqual(set(metrics["slices"]), {"new_users", "mobile", "desktop"})

    def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(self) -> None:
        checksums = []
        for name, seed in (("one", "5"), ("again", "5"), ("other", "6")):
            trained(self.folder / name, "--rows", "5000", "--seed", seed)
            checksums.append(artifact.read(self.folder / name / "model").sha256)
        self.assertEqual(checksums[0], checksums[1])
        self.assertNotEqual(checksums[0], checksums[2])

    def test_the_reference_describes_the_rows_as_they_are_served(self) -> None:
        trained(self.folder, "--rows", "5000", "--seed", "5")
        written = (self.folder / "model" / "reference.json").read_text()
        columns = json.loads(written)["columns"]
        rows = json.loads((self.folder / "metrics.json").read_text())["rows"]
        for name, column in columns.items():
            counts = column["counts"]
            counted = counts.values() if column["kind"] == "categorical" else counts
            self.assertEqual(sum(counted), rows, name)
        self.assertEqual(set(columns), {*reference.CATEGORIES, "hour", "prediction"})
        trained(self.folder / "again", "--rows", "5000", "--seed", "5")
        again = (self.folder / "again" / "model" / "reference.json").read_text()
        self.assertEqual(again, written)

    def test_the_clock_leaves_no_trace_in_the_weights(self) -> None:
        trained(self.folder, "--rows", "2000")
        with zipfile.ZipFile(self.folder / "model" / "weights.npz") as packed:
            self.assertEqual({each.date_time[0] for each in packed.infolist()}, {1980})

    def test_progress_is_told_while_it_trains(self) -> None:
        lines = trained(self.folder, "--rows", "5000").splitlines()
        self.assertGreater(sum(line.startswith("trained on") for line in lines), 4)
        self.assertIn("auc", lines[-1])

    def test_the_environment_can_say_how_many_rows(self) -> None:
        os.environ["RANKER_ROWS"] = "4000"
        self.addCleanup(os.environ.pop, "RANKER_ROWS")
        self.assertIn("4,000 impressions", trained(self.folder))
        self.assertIn("5,000 impressions", trained(self.folder, "--rows", "5000"))

    def test_traffic_looks_like_traffic(self) -> None:
        data = traffic.generate(50_000, seed=1)
        self.assertTrue(0.03 < data.clicked.mean() < 0.08, data.clicked.mean())
        first, last = (data.clicked[data.has("position", place)].mean() for place in ("1", "5"))
        self.assertGreater(first, 1.5 * last)


class Evaluation(unittest.TestCase):
    def test_auc_is_the_share_of_pairs_in_the_right_order(self) -> None:
        random = np.random.default_rng(4)
        predicted = random.integers(1, 20, 200) / 20  # many ties
        clicked = (random.random(200) < predicted).astype(float)
        pairs = np.subtract.outer(predicted[clicked == 1], predicted[clicked == 0])
        counted = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
        self.assertAlmostEqual(evaluation.quality(predicted, clicked).auc, counted, places=6)

    def test_calibration_says_how_far_predictions_are_too_high(self) -> None:
        judged = evaluation.quality(np.array([0.5, 0.5, 0.5, 0.5]), np.array([1.0, 0, 0, 0]))
        self.assertEqual(judged.calibration, 2.0)

    def test_rows_without_a_click_are_not_judged(self) -> None:
        with self.assertRaises(evaluation.NothingToJudge):
            evaluation.quality(np.array([0.1, 0.2]), np.array([0.0, 0.0]))


if __name__ == "__main__":
    unittest.main()
