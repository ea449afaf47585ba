"""What the model's files promise: a model that is not the one that was written is never served."""

import tempfile
import unittest
from pathlib import Path

import numpy as np

import artifact
from features import FeatureSpec

SPEC = FeatureSpec(bits=8, crosses=(("interest", "category"),))


class Artifact(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name) / "model"
        self.weights = np.where(np.arange(2**SPEC.bits) % 3 == 0, 0.25, 0.0)
        training = artifact.Training(rows=1_000, seed=1, data_sha256="0" * 64)
        artifact.write(self.folder, SPEC, self.weights, training)

    def test_what_was_written_is_read(self) -> None:
        model = artifact.read(self.folder)
        self.assertEqual(model.spec, SPEC)
        np.testing.assert_array_equal(model.weights, self.weights)

    def test_a_missing_file_is_named(self) -> None:
        for name in ("weights.npz", "model.json"):
            with self.subTest(name):
                (self.folder / name).unlink()
                self.assert_refused(rf"cannot read .*{name}: No such file .* has train\.py run")

    def test_a_flipped_bit_is_found(self) -> None:
        content = bytearray((self.folder / "weights.npz").read_bytes())
        content[len(content) // 2] ^= 1
        (self.folder / "weights.npz").write_bytes(content)
        self.assert_refused(r"weights\.npz is damaged: its sha256 is")

    def test_a_cut_file_is_found(self) -> None:
        content = (self.folder / "weights.npz").read_bytes()
        (self.folder / "weights.npz").write_bytes(content[:-1])
        self.assert_refused(r"weights\.npz is damaged: it has")

    def test_a_description_that_is_none_is_found(self) -> None:
        for content in (b"", b"[]", b"\xff", b'{"format": 1}', b'{"format": 1, "features": 7}'):
            with self.subTest(content):
                (self.folder / "model.json").write_bytes(content)
                self.assert_refused(r"model\.json is damaged")

    def test_another_format_is_not_guessed_at(self) -> None:
        (self.folder / "model.json").write_text('{"format": 2}')
        self.assert_refused("has format 2; this release reads format 1")

    def assert_refused(self, reason: str) -> None:
        """Reading the model fails, for this reason."""
        with self.assertRaisesRegex(artifact.ModelUnusable, reason):
            artifact.read(self.folder)


if __name__ == "__main__":
    unittest.main()
