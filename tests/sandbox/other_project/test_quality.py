import unittest
from pathlib import Path


class Quality(unittest.TestCase):
    def test_it_is_a_number(self):
        self.assertGreater(float(Path("quality.txt").read_text()), 0)
