"""A GitHub of our own: a small web server that answers as GitHub's published description says.

Called by tests. What it knows of a repository is set by the test; every answer is built and
checked with the models that githubkit makes from that description (github/rest-api-description),
and so is every body that is sent to it: what does not conform fails the test that asked. It keeps
what was asked, so that a test can look.
"""

from __future__ import annotations

import json
import ssl
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qs, quote, unquote, urlsplit

from githubkit_schemas.v2022_11_28 import models
from pydantic import BaseModel, TypeAdapter

from tests.web_server import Handler, WebServer

TOKEN = "ghp_ofTheLab"
REPOSITORY = "acme/ranker"
_MOST_PER_PAGE = 100
_USUAL_PER_PAGE = 30


@dataclass(frozen=True)
class Person:
    """An account; a permission of None is somebody who does not take part in the repository."""

    login: str
    permission: Literal["admin", "write", "read"] | None = "write"
    kind: Literal["User", "Bot"] = "User"


@dataclass(frozen=True)
class Given:
    """A review: who gave it, what it says, and of which commit."""

    by: Person
    state: str
    commit: str


@dataclass(frozen=True)
class Pull:
    """A pull request. `landed` is what it became on its base; None until it is merged."""

    number: int
    by: Person
    head: str
    landed: str | None
    reviews: tuple[Given, ...] = ()
    # None: GitHub knows nobody with the address in the commit.
    writers: tuple[Person | None, ...] = ()
    base: str = "main"
    state: Literal["open", "closed"] = "closed"
    # Commits besides its head that it holds.
    middle: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trouble:
    """What is answered in place of the truth, so many times, to paths that end so."""

    status: int
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"message": "trouble"}'
    times: int = 1_000_000


@dataclass
class Repository:
    """What GitHub knows; a test changes it as it likes.

    Args:
        history: the commits of the branch, newest first.
        elsewhere: commits that are on no branch of interest.
        required, ruled: names of the checks that the branch requires, by protection and by ruleset.
        other_rules: how many rules that require no checks stand before those that do.
        runs: the check runs of each commit: name, and conclusion or, while it runs, status.
        statuses: the commit statuses likewise: context and state.
    """

    history: tuple[str, ...]
    branch: str = "main"
    protected: bool = True
    elsewhere: tuple[str, ...] = ()
    pulls: tuple[Pull, ...] = ()
    required: tuple[str, ...] = ()
    ruled: tuple[str, ...] = ()
    other_rules: int = 1
    runs: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    statuses: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """One request: the path is below the repository."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    token: str


class GitHub(WebServer):
    """The server, for the length of a `with` block.

    Args:
        repository: what it knows at first.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.asked: list[Asked] = []
        self.nonconforming: list[str] = []
        super().__init__(partial(_Handler, github=self))

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        assert not self.nonconforming

    def wrap(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def api(self) -> str:
        """Its address, with a path as GitHub Enterprise Server has it."""
        return f"{self.origin}/api/v3"

    @property
    def statuses(self) -> list[str]:
        """The states of the deployments that it was told, in order."""
        return [asked.body["state"] for asked in self.asked if asked.path.endswith("/statuses")]

    @property
    def deployments(self) -> list[Mapping[str, Any]]:
        """The deployments that were made, in order."""
        return [asked.body for asked in self.asked if asked.path == "deployments"]


class _Handler(Handler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: the second would wait for the answer to the first.
    disable_nagle_algorithm = True

    def __init__(self, *args: Any, github: GitHub) -> None:
        self._github = github
        super().__init__(*args)

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.body()))

    def _serve(self, body: Mapping[str, Any]) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        path = url.path.removeprefix(f"/api/v3/repos/{REPOSITORY}/")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self._github.asked.append(Asked(self.command, path, query, body, token))
        if trouble := self._trouble(path):
            return self._send(trouble.status, trouble.body, trouble.headers)
        if token != TOKEN:
            return self._refuse(HTTPStatus.UNAUTHORIZED, "Bad credentials")
        if path == url.path:
            return self._refuse(HTTPStatus.NOT_FOUND, "Not Found")
        try:
            answer = _Answers(self._github.repository).to(self.command, path, body)
        except Exception as error:
            # Shown to the test when the server ends: nobody would read it here.
            self._github.nonconforming.append(f"{self.command} {path}: {error}")
            raise
        if answer is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "Not Found")
        return self._send_page(answer, query)

    def _trouble(self, path: str) -> Trouble | None:
        troubles = self._github.repository.troubles
        for number, trouble in enumerate(troubles):
            if path.endswith(trouble.path):
                left = trouble.times - 1
                troubles[number : number + 1] = [
                    Trouble(trouble.status, trouble.path, trouble.headers, trouble.body, left)
                ] * (left > 0)
                return trouble
        return None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        error = conforming(
            models.BasicError,
            message=message,
            documentation_url="https://docs.github.com/rest",
            status=str(status.value),
        )
        self._send(status, json.dumps(error), {})

    def _send_page(self, answer: Any, query: Mapping[str, str]) -> None:
        """Send a list, or the list in an object, page by page, as GitHub does."""
        per_page = min(int(query.get("per_page", _USUAL_PER_PAGE)), _MOST_PER_PAGE)
        page = int(query.get("page", 1))
        key = next((name for name in ("check_runs", "statuses") if name in answer), None)
        whole = answer[key] if key else answer
        headers = {}
        if isinstance(whole, list):
            begin = (page - 1) * per_page
            shown = whole[begin : begin + per_page]
            answer = {**answer, key: shown} if key else shown
            if begin + per_page < len(whole):
                following = f"{self._github.api}/repos/{REPOSITORY}/{quote(self._path())}"
                headers["Link"] = f'<{following}?per_page={per_page}&page={page + 1}>; rel="next"'
        status = HTTPStatus.CREATED if self.command == "POST" else HTTPStatus.OK
        self._send(status, json.dumps(answer), headers)

    def _path(self) -> str:
        return urlsplit(self.path).path.removeprefix(f"/api/v3/repos/{REPOSITORY}/")

    def _send(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Answers:
    """What GitHub says of a repository, as JSON that conforms."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def to(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Answer one request; None where there is nothing of that name."""
        match method, [unquote(part) for part in path.split("/")]:
            case "GET", ["branches", name] if name == self._repository.branch:
                return self._branch()
            case "GET", ["rules", "branches", _]:
                return self._rules()
            case "GET", ["compare", ends]:
                return self._comparison(*ends.split("..."))
            case "GET", ["commits", commit, "pulls"] if self._knows(commit):
                return [_pull(pull) for pull in self._repository.pulls if _holds(pull, commit)]
            case "GET", ["pulls", number, "reviews"]:
                return [_review(given) for pull in self._numbered(number) for given in pull.reviews]
            case "GET", ["pulls", number, "commits"]:
                return [
                    _commit(pull.head, writer)
                    for pull in self._numbered(number)
                    for writer in (pull.writers or (pull.by,))
                ]
            case "GET", ["collaborators", login, "permission"]:
                return self._permission(login)
            case "GET", ["commits", commit, "check-runs"] if self._knows(commit):
                return self._check_runs(commit)
            case "GET", ["commits", commit, "status"] if self._knows(commit):
                return self._combined_status(commit)
            case "POST", ["deployments"]:
                models.ReposOwnerRepoDeploymentsPostBody.model_validate(body)
                assert self._knows(body["ref"])
                return conforming(models.Deployment, id=7, sha=body["ref"], payload={})
            case "POST", ["deployments", "7", "statuses"]:
                _ADAPTER_OF_STATUS.validate_python(body)
                assert len(body["description"]) <= 140
                return conforming(models.DeploymentStatus, id=8, state=body["state"])
        return None

    def _knows(self, commit: str) -> bool:
        known = self._repository
        heads = {pull.head for pull in known.pulls}
        return commit in {*known.history, *known.elsewhere, *heads}

    def _numbered(self, number: str) -> Iterable[Pull]:
        return (pull for pull in self._repository.pulls if str(pull.number) == number)

    def _branch(self) -> Any:
        known = self._repository
        return conforming(
            models.BranchWithProtection,
            name=known.branch,
            commit=_commit(known.history[0], None),
            protected=known.protected,
            protection={
                "enabled": known.protected,
                "required_status_checks": {
                    "contexts": list(known.required),
                    "checks": [{"context": name, "app_id": None} for name in known.required],
                },
            },
        )

    def _rules(self) -> Any:
        if not self._repository.ruled:
            return []
        checks = [{"context": name} for name in self._repository.ruled]
        others = [conforming(models.RepositoryRuleDeletion, type="deletion")]
        return [
            *others * self._repository.other_rules,
            conforming(
                models.RepositoryRuleRequiredStatusChecks,
                type="required_status_checks",
                parameters={
                    "required_status_checks": checks,
                    "strict_required_status_checks_policy": False,
                },
            ),
        ]

    def _comparison(self, base: str, head: str) -> Any:
        history = self._repository.history
        if not (self._knows(base) and self._knows(head)):
            return None
        status = "behind" if head in history else "diverged"
        if base == head:
            status = "identical"
        return conforming(models.CommitComparison, status=status)

    def _permission(self, login: str) -> Any:
        people = {
            given.by.login: given.by for pull in self._repository.pulls for given in pull.reviews
        }
        person = people.get(login)
        if person is None or person.permission is None:
            return None
        return conforming(
            models.RepositoryCollaboratorPermission,
            permission=person.permission,
            role_name=person.permission,
        )

    def _check_runs(self, commit: str) -> Any:
        runs = [_run(name, came_to) for name, came_to in self._repository.runs.get(commit, ())]
        return conforming(
            models.ReposOwnerRepoCommitsRefCheckRunsGetResponse200,
            total_count=len(runs),
            check_runs=runs,
        )

    def _combined_status(self, commit: str) -> Any:
        statuses = [
            conforming(models.SimpleCommitStatus, context=context, state=state)
            for context, state in self._repository.statuses.get(commit, ())
        ]
        return conforming(
            models.CombinedCommitStatus,
            sha=commit,
            statuses=statuses,
            total_count=len(statuses),
        )


_ADAPTER_OF_STATUS = TypeAdapter(models.ReposOwnerRepoDeploymentsDeploymentIdStatusesPostBody)


def _holds(pull: Pull, commit: str) -> bool:
    return commit in (pull.head, pull.landed, *pull.middle)


def _user(person: Person) -> Any:
    return conforming(models.SimpleUser, login=person.login, type=person.kind)


def _pull(pull: Pull) -> Any:
    return conforming(
        models.PullRequestSimple,
        number=pull.number,
        html_url=f"https://github.example/{REPOSITORY}/pull/{pull.number}",
        state=pull.state,
        user=_user(pull.by),
        merged_at=datetime(2026, 1, 1, tzinfo=UTC).isoformat() if pull.landed else None,
        # GitHub tries the merge out beforehand, on a commit of its own.
        merge_commit_sha=pull.landed or "f" * 40,
        head=_end(models.PullRequestSimplePropHead, "change", pull.head),
        base=_end(models.PullRequestSimplePropBase, pull.base, "0" * 40),
    )


def _end(kind: type[BaseModel], ref: str, sha: str) -> Any:
    return conforming(kind, ref=ref, sha=sha)


def _review(given: Given) -> Any:
    return conforming(
        models.PullRequestReview,
        user=_user(given.by),
        state=given.state,
        commit_id=given.commit,
    )


def _commit(sha: str, writer: Person | None) -> Any:
    person = _user(writer) if writer else None
    return conforming(models.Commit, sha=sha, author=person, committer=person, parents=[])


def _run(name: str, came_to: str) -> Any:
    running = came_to in ("queued", "in_progress", "waiting", "requested", "pending")
    return conforming(
        models.CheckRun,
        name=name,
        status=came_to if running else "completed",
        conclusion=None if running else came_to,
    )


def conforming(kind: type[BaseModel], **known: Any) -> Any:
    """Return JSON of this kind: what is known, and something for all else that it has to have.

    Raises:
        pydantic.ValidationError: what is known does not conform.
    """
    values = {
        name.alias or key: _something(name.annotation)
        for key, name in kind.model_fields.items()
        if name.is_required()
    }
    made = kind.model_validate({**values, **known})
    return json.loads(made.model_dump_json(by_alias=True, exclude_unset=True))


def _something(annotation: Any) -> Any:
    """Return a value of this type, the least one."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return None if type(None) in inner else _something(inner[0])
    if origin is Literal:
        return inner[0]
    if origin is list:
        return []
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return conforming(annotation)
    if annotation is datetime:
        return "2026-01-01T00:00:00Z"
    if origin is dict or annotation is Any:
        return {}
    return {str: "text", int: 1, float: 1.0, bool: False}[annotation]
