"""Promises of README.md and docs/: what they tell people to type exists, and no link leads nowhere.

`docs/design.md` also tells what comes later: of that page only the links are looked at.
"""

from __future__ import annotations

import copy
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fabric import task
from fabric.main import make_program
from invoke.collection import Collection

import aideploy
from aideploy.settings.hosts import HostTable
from aideploy.settings.loading import LISTS, TABLES
from aideploy.settings.problems import keys_of

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
OF_TODAY = [page for page in PAGES if page.name != "design.md"]
# Options of other programs that the pages speak of.
FOREIGN_OPTIONS = {"--fd", "--quick", "--cap-drop", "--gpus"}

CODE_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INDENTED_BLOCK = re.compile(r"(?<=\n\n)(?:(?: {4}.*)?\n)+")
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
OWN_TASK = re.compile(r"^def (\w+)\(c\b", re.MULTILINE)
COMMAND = re.compile(r"^(?:# |\$ |- run: )?(?:fab|python -m aideploy) (.+)$")
TABLE = re.compile(r"^\[\[?[a-z][\w.-]*\]?\]$", re.MULTILINE)
NAMED_KEY = re.compile(r"\[([a-z]+)\](?: ([a-z_]+))?")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[str]:
    """All code that stands in lines of its own."""
    fenced = [match[3] for match in CODE_BLOCK.finditer(text(page))]
    return [*fenced, *INDENTED_BLOCK.findall(CODE_BLOCK.sub("", text(page)))]


def inline(page: Path) -> list[str]:
    return INLINE.findall(CODE_BLOCK.sub("", text(page)))


def commands(page: Path) -> Iterator[str]:
    """What follows `fab` wherever the page says what to type."""
    lines = [line.strip() for block in blocks(page) for line in block.splitlines()]
    for code in [*lines, *inline(page)]:
        if typed := COMMAND.match(code):
            yield typed[1]


def tasks() -> Collection:
    """The tasks of aideploy, and those that the pages write themselves."""
    # Copies: Invoke takes the help out of a task when it reads a command line.
    everything = copy.deepcopy(aideploy.namespace())
    own = {name for page in PAGES for block in blocks(page) for name in OWN_TASK.findall(block)}
    for name in own - set(everything.tasks):
        everything.add_task(task(name=name)(lambda c: None))
    return everything


def parse(command: str) -> None:
    """Read a command line as fab does, and run nothing."""
    program = make_program()
    program.namespace = tasks()
    program.create_config()
    program.parse_core(["fab", *shlex.split(command, comments=True)])
    program.parse_collection()
    program.parse_tasks()


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    found = HEADING.findall(CODE_BLOCK.sub("", text(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def unknown_keys(document: Mapping[str, Any]) -> Iterator[str]:
    """The tables and keys of a piece of hosts.toml that aideploy does not know."""
    for name, value in document.items():
        if name == "environments":
            for environment in value.values():
                overrides = {key: table for key, table in environment.items() if key != "hosts"}
                yield from unknown_keys(overrides)
                for host in environment.get("hosts", {}).values():
                    yield from set(host) - set(keys_of(HostTable))
        elif name in LISTS:
            keys = {key for table in value for key in table} - set(keys_of(LISTS[name]))
            yield from (f"[[{name}]] {key}" for key in keys)
        elif name not in TABLES:
            yield f"[{name}]"
        else:
            yield from (f"[{name}] {key}" for key in set(value) - set(keys_of(TABLES[name])))


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", OF_TODAY, ids=ids)
def test_every_command_that_a_page_tells_to_type_is_understood(page: Path) -> None:
    for command in commands(page):
        try:
            parse(command)
        except Exception as error:
            pytest.fail(f"fab {command}: {error}")


@pytest.mark.parametrize("page", OF_TODAY, ids=ids)
def test_every_option_that_a_page_speaks_of_exists(page: Path) -> None:
    known = set(make_program().initial_context.flags) | FOREIGN_OPTIONS
    for context in tasks().to_contexts():
        known |= set(context.flags)
    for code in inline(page):
        if code.startswith("--"):
            assert re.split("[ =]", code)[0] in known


@pytest.mark.parametrize("page", OF_TODAY, ids=ids)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    for block in blocks(page):
        if TABLE.search(block):
            assert not list(unknown_keys(tomllib.loads(block)))
    for code in inline(page):
        if named := NAMED_KEY.match(code):
            assert named[1] in TABLES
            assert named[2] is None or named[2] in keys_of(TABLES[named[1]])


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE_BLOCK.sub("", text(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_pages_are_read_as_people_read_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Type `fab one`.\n\n    fab two   # now\n\n```console\n$ fab three --x\nfab four\n```\n"
        "  ```yaml\n  - run: fab five\n  ```\n\nand `python -m aideploy six`, not fab seven.\n"
    )
    assert sorted(command.split()[0] for command in commands(page)) == [
        *("five", "four", "one", "six", "three", "two")
    ]


@pytest.mark.parametrize("command", ["deplyo", "deploy --revison main", "-H web1 deploy --fast"])
def test_a_command_that_does_not_exist_would_be_noticed(command: str) -> None:
    with pytest.raises(Exception, match=r"No idea|not recogn|'--"):
        parse(command)


def test_a_setting_that_does_not_exist_would_be_noticed() -> None:
    document = tomllib.loads('[app]\nnmae = "x"\n[sreve]\n[environments.x.hosts.y]\nadress = "z"\n')
    assert sorted(unknown_keys(document)) == ["[app] nmae", "[sreve]", "adress"]
