"""When an answer is right, and what a golden file may hold: cases are data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aideploy.scripts.golden_file import MOST_LINES, read
from aideploy.scripts.golden_rules import Comparison, Number, Rules, constants, not_finite

STRICT = Rules(0.0, 0.0, frozenset())
ABSOLUTE = Rules(0.1, 0.0, frozenset())
RELATIVE = Rules(0.0, 0.1, frozenset())


def wrong(rules: Rules, expected: Any, found: Any) -> list[str]:
    comparison = Comparison(rules)
    comparison.compare(expected, found)
    return comparison.wrong


@pytest.mark.parametrize(
    ("rules", "expected", "found"),
    [
        (STRICT, {"a": [1, "x", None, True]}, {"a": [1, "x", None, True]}),
        (STRICT, {"a": 1}, {"a": 1, "more": "than expected"}),
        (STRICT, 1, 1.0),
        (ABSOLUTE, 0.5, 0.59),
        (ABSOLUTE, {"rank": [{"p": 0.5}]}, {"rank": [{"p": 0.41, "ad": "x"}]}),
        (RELATIVE, 1000, 1099),
        (RELATIVE, -1000, -901),
        (Rules(0.1, 0.1, frozenset()), 100, 109.9),
        (Rules(0.0, 0.0, frozenset({"id"})), {"id": "a", "b": {"id": 1}}, {"b": {}}),
        (STRICT, 2**80, 2**80),
    ],
)
def test_an_answer_within_the_rules_is_right(rules: Rules, expected: Any, found: Any) -> None:
    assert wrong(rules, expected, found) == []


@pytest.mark.parametrize(
    ("rules", "expected", "found", "says"),
    [
        (ABSOLUTE, {"p": 0.5}, {"p": 0.61}, "p: expected 0.5 (within 0.1), found 0.61"),
        (RELATIVE, 1000, 1101, "the answer: expected 1000 (within 100), found 1101"),
        (
            ABSOLUTE,
            {"a": {"b": [1, "x"]}},
            {"a": {"b": [1, "y"]}},
            'a.b[1]: expected "x", found "y"',
        ),
        (STRICT, {"a": 1}, {}, "a: expected 1, found nothing"),
        (STRICT, {"a": 1}, [1], 'the answer: expected {"a": 1}, found [1]'),
        (STRICT, [1, 2], [1], "the answer: expected a list of 2, found a list of 1"),
        (ABSOLUTE, True, 1, "the answer: expected true, found 1"),
        (ABSOLUTE, 0, False, "the answer: expected 0, found false"),
        (ABSOLUTE, 1, "1", 'the answer: expected 1, found "1"'),
        (STRICT, None, 0, "the answer: expected null, found 0"),
        (STRICT, {"a b\n": 1}, {}, '"a b\\n": expected 1, found nothing'),
    ],
)
def test_what_differs_is_told_with_its_place(
    rules: Rules, expected: Any, found: Any, says: str
) -> None:
    differences = wrong(rules, expected, found)
    assert len(differences) == 1
    assert differences[0].startswith(says)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", '{"a": [0, NaN]}', "1" + "0" * 400])
def test_a_number_that_is_none_is_found_wherever_it_stands(text: str) -> None:
    assert len(list(not_finite(json.loads(text)))) == 1


def test_one_number_for_everything_is_told_from_numbers_that_are_alike() -> None:
    def answers(*found: float) -> list[list[Number]]:
        expected = (0.1, 0.2, 0.3)
        return [
            [Number(f"p[{n}]", *one)] for n, one in enumerate(zip(expected, found, strict=True))
        ]

    assert list(constants(answers(0.2, 0.2, 0.2))) == [
        "p[] is 0.2 in all 3 places, where 3 different numbers are expected"
    ]
    assert list(constants(answers(0.2, 0.2, 0.21))) == []
    assert list(constants([[Number("p", 1, 1)], [Number("p", 1, 1)], [Number("p", 2, 1)]])) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON: "),
        ("[1]", "found a list, expected an object"),
        ("{}", 'missing: request (or "method": "GET")'),
        ('{"request": NaN}', "not JSON: NaN is no number of JSON"),
        ('{"request": 1, "expected": 1e999}', "a number in it is too large"),
        ('{"request": 1, "expect": 2}', 'unknown key "expect"; known: request, expected'),
        ('{"request": 1, "tolerance": -1}', "tolerance: found -1, expected a number of at least 0"),
        ('{"request": 1, "tolerance_rel": "1%"}', 'tolerance_rel: found "1%"'),
        ('{"request": 1, "path": "predict"}', 'path: found "predict", expected a path'),
        ('{"request": 1, "path": "/a HTTP/1.1\\r\\nX: y"}', "path: found"),
        ('{"request": 1, "method": "DELETE"}', 'method: found "DELETE", expected one of POST'),
        ('{"request": 1, "method": "GET"}', "request: a GET has none"),
        ('{"request": 1, "status": 2000}', "status: found 2000"),
        ('{"request": 1, "headers": {"A b": "c"}}', 'headers: "A b" is no name of a header'),
        ('{"request": 1, "headers": {"A": "c\\r\\nD: e"}}', "headers: A: found"),
        ('{"request": ' + "[" * 100_000, "nested too deeply"),
        ("\udcff", "not UTF-8 text"),
    ],
)
def test_a_bad_line_is_told_with_its_number(line: str, says: str) -> None:
    content = f'{{"request": 1}}\n\n{line}\n'.encode(errors="surrogateescape")
    problems = read(content, "golden.jsonl")[1]
    assert problems[0].startswith(f"golden.jsonl:3: {says}")


def test_a_golden_file_has_a_beginning_and_an_end() -> None:
    assert read(b"\n \n", "g")[1] == ["g: it holds no request"]
    assert "larger than 16 MiB" in read(b" " * (16 * 1024 * 1024 + 1), "g")[1][0]
    many = b'{"request": 1}\n' * (MOST_LINES + 1)
    assert read(many, "g")[1] == [f"g: more than {MOST_LINES} requests"]
    assert len(read(b"x\n" * 1000, "g")[1]) < 30
    lines, problems = read(b'\xef\xbb\xbf{"request": 1}\r\n{"method": "GET"}', "g")
    assert ([line.method for line in lines], problems) == (["POST", "GET"], [])
