"""What features promise: training and serving see the same numbers."""

import unittest

import numpy as np

import traffic
from features import FIELDS, SPEC, Column, FeatureSpec
from inputs import Ad, Context, Device, Question, User

EVERYBODY = 1


class Features(unittest.TestCase):
    def test_a_question_touches_the_weights_that_the_same_impression_trained(self) -> None:
        data = traffic.generate(2_000, seed=3)
        row = int(np.flatnonzero(data.columns["position"].codes == 0)[0])
        logged = {field: column.names[column.codes[row]] for field, column in data.columns.items()}
        days = {"first week": 3, "first month": 20, "first half year": 90, "longer": 400}
        question = Question(
            User(logged["user"], logged["interest"], days[logged["tenure"]]),
            (Ad(logged["ad"], logged["category"]),),
            Context(Device(logged["device"]), logged["site"], int(logged["hour"])),
        )
        asked = SPEC.weights_for(question.columns())
        np.testing.assert_array_equal(asked[0], SPEC.weights_for(data.columns)[row])

    def test_every_field_and_every_cross_has_a_weight(self) -> None:
        columns = {field: Column.of(["x"]) for field in FIELDS}
        touched = SPEC.weights_for(columns)
        self.assertEqual(touched.shape, (1, EVERYBODY + len(FIELDS) + len(SPEC.crosses)))
        self.assertEqual(len(set(touched[0])), touched.shape[1])

    def test_weights_stay_inside_the_model(self) -> None:
        spec = FeatureSpec(bits=6, crosses=())
        touched = spec.weights_for(traffic.generate(2_000, seed=3).columns)
        self.assertGreaterEqual(touched.min(), 0)
        self.assertLess(touched.max(), 2**6)

    def test_a_cross_tells_pairs_apart_that_its_fields_alone_do_not(self) -> None:
        spec = FeatureSpec(bits=18, crosses=(("interest", "category"),))
        columns = {field: Column.constant("x", 2) for field in FIELDS}
        columns["interest"] = Column.of(["cars", "music"])
        columns["category"] = Column.of(["music", "cars"])
        crossed = spec.weights_for(columns)[:, -1]
        self.assertNotEqual(crossed[0], crossed[1])

    def test_tenure_changes_on_the_seventh_day(self) -> None:
        tenure = Column.tenure([0, 6, 7, 29, 30, 180])
        self.assertEqual(tenure.codes.tolist(), [0, 0, 1, 1, 2, 3])


if __name__ == "__main__":
    unittest.main()
