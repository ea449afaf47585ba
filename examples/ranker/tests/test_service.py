"""What the service promises to those who call it, and to the deploy that starts it."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import artifact
import service
from feature_log import FeatureLog
from tests.test_training import trained

APP = Path(__file__).parent.parent
IDENTITY = service.Identity(revision="4f2c1aa", release="20260101T000000Z-4f2c1aa", slot="blue")


def question() -> dict[str, Any]:
    """A request as a caller sends it."""
    return {
        "user": {"id": "user-17", "interest": "sports", "days": 3},
        "ads": [{"id": f"ad-{n}", "category": "sports"} for n in range(1, 6)],
        "context": {"device": "mobile", "site": "site-4", "hour": 20},
    }


class WithAModel(unittest.TestCase):
    model_folder: Path

    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        trained(Path(temporary.name), "--rows", "20000")
        cls.model_folder = Path(temporary.name) / "model"


class Service(WithAModel):
    def setUp(self) -> None:
        self.model = artifact.read(self.model_folder)
        self.client = service.create(self.model, IDENTITY).test_client()

    def test_health_says_which_revision_and_model_answer(self) -> None:
        answer = self.client.get("/healthz")
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(
            answer.json,
            {
                "status": "ok",
                "revision": "4f2c1aa",
                "release": "20260101T000000Z-4f2c1aa",
                "model": self.model.sha256,
                "slot": "blue",
            },
        )

    def test_ads_come_back_ranked_by_probability(self) -> None:
        answer = self.client.post("/predict", json=question())
        ranking = answer.get_json()["ranking"]
        probabilities = [each["probability"] for each in ranking]
        self.assertEqual({each["ad"] for each in ranking}, {f"ad-{n}" for n in range(1, 6)})
        self.assertEqual(probabilities, sorted(probabilities, reverse=True))
        self.assertGreater(probabilities[0], probabilities[-1])
        self.assertTrue(all(0 < each < 1 for each in probabilities))

    def test_a_row_of_each_question_is_logged_and_a_log_that_cannot_be_is_no_failure(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "features.jsonl"
            client = service.create(self.model, IDENTITY, FeatureLog(file)).test_client()
            for _ in range(3):
                answer = client.post("/predict", json=question())
            client.post("/predict", json={})
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            self.assertEqual(len(rows), 3)
            self.assertEqual(rows[0]["interest"], "sports")
            self.assertEqual((rows[0]["tenure"], rows[0]["hour"]), ("first week", 20))
            predicted = [each["probability"] for each in answer.get_json()["ranking"]]
            self.assertIn(round(rows[0]["prediction"], 6), predicted)
        nowhere = FeatureLog(Path("/nowhere/features.jsonl"))
        client = service.create(self.model, IDENTITY, nowhere).test_client()
        self.assertEqual(client.post("/predict", json=question()).status_code, 200)

    def test_an_ad_nobody_has_seen_is_ranked_too(self) -> None:
        asked = question()
        asked["ads"].append({"id": "brand new", "category": "zeppelins"})
        self.assertEqual(len(self.client.post("/predict", json=asked).get_json()["ranking"]), 6)

    def test_bad_input_is_refused_with_the_field_and_what_is_expected(self) -> None:
        nested = b"[" * 100_000
        cases: list[tuple[str, Any, str]] = [
            ("no JSON", b"{", "not JSON"),
            ("nested too deep", nested, "not JSON"),
            ("not UTF-8", b'"\xff"', "not JSON"),
            ("a list", [], "the body: expected an object, found []"),
            ("no ads", {**question(), "ads": []}, "ads: expected a list of 1 to 200"),
            ("ad without id", {**question(), "ads": [{"category": "x"}]}, "ads[0]: id is missing"),
            ("empty name", _with("user", id=""), "user.id: expected a text"),
            ("number as name", _with("user", id=7), "user.id: expected a text"),
            ("half a character", _with("user", id="\ud800"), "user.id: expected a text"),
            ("negative days", _with("user", days=-1), "user.days: expected a whole number"),
            ("true as hour", _with("context", hour=True), "context.hour: expected a whole number"),
            ("hour 24", _with("context", hour=24), "from 0 to 23, found 24"),
            ("a fridge", _with("context", device="fridge"), 'desktop, tablet, found "fridge"'),
            ("list as device", _with("context", device=[]), "found []"),
            ("unknown field", _with("context", moon=1), '"moon" is unknown'),
        ]
        for name, sent, expected in cases:
            with self.subTest(name):
                body = sent if isinstance(sent, bytes) else json.dumps(sent)
                answer = self.client.post("/predict", data=body)
                self.assertEqual(answer.status_code, 400)
                self.assertIn(expected, answer.get_json()["error"])

    def test_a_huge_body_is_refused(self) -> None:
        answer = self.client.post("/predict", data=b" " * 300_000)
        self.assertEqual(answer.status_code, 413)

    def test_metrics_count_requests_and_name_what_runs(self) -> None:
        self.client.post("/predict", json=question())
        self.client.post("/predict", json={})
        self.client.get("/nowhere")
        text = self.client.get("/metrics").get_data(as_text=True)
        for line in (
            'inference_requests_total{code="200",endpoint="predict"} 1.0',
            'inference_requests_total{code="400",endpoint="predict"} 1.0',
            'inference_requests_total{code="404",endpoint="none"} 1.0',
            'inference_request_duration_seconds_count{endpoint="predict"} 2.0',
            "inference_requests_in_progress 0.0",
            "prediction_probability_count 5.0",
            f'model_info{{model="{self.model.sha256}",revision="4f2c1aa"}} 1.0',
        ):
            self.assertIn(line, text)
        trained_at = float(text.split("\nmodel_trained_timestamp_seconds ")[1].split()[0])
        written = (self.model_folder / "model.json").stat().st_mtime
        self.assertAlmostEqual(trained_at, written, places=2)


class Start(WithAModel):
    def start(self, model_folder: Path) -> subprocess.CompletedProcess[str]:
        """Import `app` in a process of its own, as gunicorn does."""
        return subprocess.run(
            [sys.executable, "-c", "import app"],
            cwd=APP,
            env={**os.environ, "MODEL_DIR": str(model_folder)},
            capture_output=True,
            text=True,
        )

    def test_a_whole_model_starts(self) -> None:
        self.assertEqual(self.start(self.model_folder).returncode, 0)

    def test_an_unusable_model_ends_the_process_with_one_clear_line(self) -> None:
        ended = self.start(self.model_folder / "elsewhere")
        self.assertEqual(ended.returncode, 4, "the status on which gunicorn gives up")
        self.assertRegex(ended.stderr, r"^ranker: cannot read .*model\.json: No such file.*\n$")


def _with(part: str, **fields: object) -> dict[str, Any]:
    asked = question()
    asked[part].update(fields)
    return asked


if __name__ == "__main__":
    unittest.main()
