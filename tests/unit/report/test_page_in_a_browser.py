"""The report in a real browser: nothing of it leaves the page, and every screen shows all of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.report.page.page import html
from tests.browser import Browser, browser
from tests.unit.report.sample_run import known

PHONE, DESK = 375, 1280
_SEEN = "[...document.querySelectorAll('{}')].filter(e => e.getClientRects().length).length"
# The brightness of a colour, as WCAG 2 defines it, and how far it is from the paper.
_CONTRAST = """(() => {
  const parts = text => text.match(/[\\d.]+/g).slice(0, 3).map(n => {
    const c = n / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  const light = text => parts(text).reduce((l, c, n) => l + c * [.2126, .7152, .0722][n], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const ratio = e => { const ink = light(getComputedStyle(e).color);
    return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05); };
  return Math.min(...[...document.body.querySelectorAll('*')]
    .filter(e => e.getClientRects().length && e.innerText).map(ratio));
})()"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for end, hosts in (("well", 4), ("back", 200), ("refused", 3), ("killed", 3)):
        made[end] = folder / f"{end}.html"
        made[end].write_text(html(known(hosts, end), None), encoding="utf-8")
    return made


@pytest.mark.parametrize(
    ("end", "width", "scheme"),
    list(
        itertools.product(("well", "back", "refused", "killed"), (PHONE, DESK), ("light", "dark"))
    ),
)
def test_it_is_calm_on_every_screen(
    tab: Browser, pages: dict[str, Path], tmp_path: Path, end: str, width: int, scheme: str
) -> None:
    tab.show(pages[end], width=width, scheme=scheme)
    assert tab.complaints == []
    assert tab.requests == [pages[end].as_uri()]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.scripts.length") == 0
    # The readable minimum of WCAG 2 for text.
    assert tab.evaluate(_CONTRAST) >= 4.5
    assert tab.evaluate(_SEEN.format(".timeline li")) > 5
    assert len(tab.picture(tmp_path / "page.png")) > 20_000


def test_light_and_dark_differ(tab: Browser, pages: dict[str, Path]) -> None:
    papers = []
    for scheme in ("light", "dark"):
        tab.show(pages["well"], width=DESK, scheme=scheme)
        papers.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(255, 255, 251)", "rgb(22, 22, 20)"]


def test_its_bars_stand_where_the_times_are(tab: Browser, pages: dict[str, Path]) -> None:
    tab.show(pages["well"], width=DESK)
    widths = tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.timeline li')].map(li => "
        "[li.querySelector('.name').textContent.trim(), "
        "li.querySelector('.bar').getBoundingClientRect().width]))"
    )
    # Training took 71 of 186 seconds, the tests 6.
    assert widths["train"] == max(widths.values())
    assert 5 < widths["train"] / widths["test"] < 25


def test_it_prints_on_a4_in_dark_ink(tab: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    tab.show(pages["well"], width=DESK, scheme="dark")
    pdf = tab.printed(tmp_path / "page.pdf")
    sizes = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf))
    (width, height), *more = sizes
    assert not more and (round(float(width)), round(float(height))) == (595, 842)
    assert 1 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 6
    tab.call("Emulation.setEmulatedMedia", media="print", features=[])
    try:
        assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
    finally:
        tab.call("Emulation.setEmulatedMedia", media="", features=[])


def test_the_policy_of_the_page_stops_what_the_escaping_would_let_through(
    tab: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.html"
    evil = (
        "<script>document.title = 'run'</script><img src='file:///etc/hostname'><style>p{}</style>"
    )
    broken.write_text(pages["well"].read_text().replace("<main>", f"<main>{evil}"))
    tab.show(broken, width=DESK)
    assert tab.evaluate("document.title") != "run"
    assert not tab.evaluate("[...document.images].some(image => image.naturalWidth)")
    assert len([one for one in tab.complaints if "Content Security Policy" in one]) == 3
