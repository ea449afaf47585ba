"""What GitHub knows of a commit: its endpoints read into the facts of the review gate.

Called by `reviewing`. Nothing is judged here. Only those fields of an answer are read that are
needed; one that lacks them is an error, never an approval.

Source: GitHub's REST documentation of API version 2022-11-28. `commits/SHA/pulls` lists the merged
pull request that brought a commit to the default branch, however it was merged; its
`merge_commit_sha` is then the merge commit, the squashed commit, or the last of the rebased ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter

from aideploy.gates.github_http import Api
from aideploy.gates.review import (
    Check,
    CheckState,
    Facts,
    Judgement,
    Opinion,
    Place,
    PullRequest,
    brought,
    latest,
)

# GitHub lists no more commits of a pull request.
_MOST_COMMITS = 250
_GREEN = frozenset({"success", "neutral", "skipped"})
_MAY_WRITE = frozenset({"admin", "write"})


class _Commit(BaseModel):
    sha: str


class _User(BaseModel):
    login: str
    type: str


class _RequiredChecks(BaseModel):
    contexts: list[str] = []


class _Protection(BaseModel):
    required_status_checks: _RequiredChecks | None = None


class _Branch(BaseModel):
    commit: _Commit
    protected: bool
    protection: _Protection | None = None


class _RuleCheck(BaseModel):
    context: str


class _RuleParameters(BaseModel):
    required_status_checks: list[_RuleCheck] = []


class _Rule(BaseModel):
    type: str
    parameters: _RuleParameters | None = None


class _Comparison(BaseModel):
    status: Literal["ahead", "behind", "diverged", "identical"]


class _Ref(BaseModel):
    ref: str
    sha: str


class _Pull(BaseModel):
    number: int
    html_url: str
    merged_at: str | None
    merge_commit_sha: str | None
    user: _User | None
    head: _Ref
    base: _Ref
    state: str


class _Review(BaseModel):
    user: _User | None
    state: str
    commit_id: str | None


class _Person(BaseModel):
    # GitHub writes {} for somebody whom it does not know.
    login: str | None = None


class _Signature(BaseModel):
    email: str = ""


class _Signatures(BaseModel):
    author: _Signature | None = None
    committer: _Signature | None = None


class _PullCommit(BaseModel):
    author: _Person | None
    committer: _Person | None
    # As git has it; above whose account GitHub takes that for.
    commit: _Signatures


class _Permission(BaseModel):
    permission: str


class _CheckRun(BaseModel):
    name: str
    status: str
    conclusion: str | None


class _CheckRuns(BaseModel):
    check_runs: list[_CheckRun]


class _Status(BaseModel):
    context: str
    state: str


class _Statuses(BaseModel):
    statuses: list[_Status]


def facts(
    api: Api,
    revision: str,
    branch: str,
    required: bool | tuple[str, ...],
    say: Callable[[str], None],
) -> Facts:
    """Ask GitHub for everything that the gate wants to know of a commit.

    Args:
        api: of the repository.
        revision: the full commit.
        branch: that it has to be on.
        required: the names of the checks; True for those that the branch requires, False for none.
        say: told in a few words what is being asked.

    Raises:
        GitHubUnavailable, GitHubRefusesUs: something could not be had.
    """
    say(f"look at the branch {branch}")
    known = api.get(
        f"branches/{quote(branch, safe='')}", TypeAdapter(_Branch), what=f"the branch {branch}"
    )
    place = _place(api, known.commit.sha, revision)
    found = Facts(
        revision=revision,
        repository=api.repository,
        branch=branch,
        is_protected=known.protected,
        place=place,
        required=_required(api, known, branch, required),
    )
    if place is Place.UNKNOWN:
        return found
    say("look at the pull request and its reviews")
    pull = _pull(api, branch, revision)
    opinions = _opinions(api, pull) if pull else ()
    found = replace(
        found,
        pull=pull,
        opinions=opinions,
        may_write=frozenset(_who_may_write(api, latest(opinions))),
    )
    if not found.required:
        return found
    say("look at the checks")
    # Most checks run for the pull request; some run again for what became of it.
    commits = dict.fromkeys([revision, *([pull.head] if pull else [])])
    return replace(found, checks=tuple(one for commit in commits for one in _checks(api, commit)))


def _required(
    api: Api, known: _Branch, branch: str, required: bool | tuple[str, ...]
) -> tuple[str, ...] | None:
    if isinstance(required, tuple):
        return required
    if not required:
        return None
    protection = known.protection.required_status_checks if known.protection else None
    names = list(protection.contexts) if protection else []
    # An Enterprise Server that is too old for rulesets has none.
    pages = api.pages(
        f"rules/branches/{quote(branch, safe='')}",
        TypeAdapter(list[_Rule]),
        what=f"the rules of the branch {branch}",
        may_lack=True,
    )
    for rule in chain.from_iterable(pages):
        if rule.type == "required_status_checks" and rule.parameters:
            names += [check.context for check in rule.parameters.required_status_checks]
    return tuple(dict.fromkeys(names))


def _place(api: Api, head: str, revision: str) -> Place:
    comparison = api.find(
        f"compare/{head}...{revision}",
        TypeAdapter(_Comparison),
        what=f"the commit {revision[:7]}",
        # Only the status counts, and not the commits.
        per_page="1",
    )
    if comparison is None:
        return Place.UNKNOWN
    is_ancestor = comparison.status in ("behind", "identical")
    return Place.ON_BRANCH if is_ancestor else Place.ELSEWHERE


def _pull(api: Api, branch: str, revision: str) -> PullRequest | None:
    pages = api.pages(
        f"commits/{revision}/pulls",
        TypeAdapter(list[_Pull]),
        what=f"the pull requests of {revision[:7]}",
    )
    listed = {
        pull.number: pull
        for pull in chain.from_iterable(pages)
        if pull.base.ref == branch and (pull.merged_at or pull.state == "open")
    }
    chosen = brought(map(_without_writers, listed.values()), revision)
    return _with_writers(api, chosen, listed[chosen.number].user) if chosen else None


def _with_writers(api: Api, pull: PullRequest, opener: _User | None) -> PullRequest:
    pages = api.pages(
        f"pulls/{pull.number}/commits",
        TypeAdapter(list[_PullCommit]),
        what=f"the commits of {pull}",
    )
    commits = list(chain.from_iterable(pages))
    writers = {opener.login} if opener else set()
    strangers = set()
    for one in commits:
        for person, signature in (
            (one.author, one.commit.author),
            (one.committer, one.commit.committer),
        ):
            if person and person.login:
                writers.add(person.login)
            else:
                strangers.add((signature.email if signature else "").lower() or "somebody")
    return replace(
        pull,
        writers=frozenset(writers),
        strangers=tuple(sorted(strangers)),
        knows_writers=len(commits) < _MOST_COMMITS,
    )


def _without_writers(pull: _Pull) -> PullRequest:
    merged = pull.merged_at is not None
    return PullRequest(
        number=pull.number,
        head=pull.head.sha,
        # Before the merge this is a commit that GitHub made to try it out.
        landed=(pull.merge_commit_sha or "") if merged else "",
        is_merged=merged,
        url=pull.html_url,
    )


def _opinions(api: Api, pull: PullRequest) -> tuple[Opinion, ...]:
    pages = api.pages(
        f"pulls/{pull.number}/reviews",
        TypeAdapter(list[_Review]),
        what=f"the reviews of {pull}",
    )
    return tuple(
        Opinion(
            user=review.user.login,
            judgement=Judgement(review.state),
            commit=review.commit_id or "",
            is_person=review.user.type == "User",
        )
        for review in chain.from_iterable(pages)
        if review.user and review.state in list(Judgement)
    )


def _who_may_write(api: Api, opinions: Iterable[Opinion]) -> Iterator[str]:
    """Yield the people whose opinion counts: in a public repository anybody may give one."""
    for opinion in opinions:
        if not opinion.is_person or opinion.judgement is Judgement.DISMISSED:
            continue
        user = quote(opinion.user, safe="")
        known = api.find(
            f"collaborators/{user}/permission",
            TypeAdapter(_Permission),
            what=f"the rights of {opinion.user}",
        )
        if known and known.permission in _MAY_WRITE:
            yield opinion.user


def _checks(api: Api, commit: str) -> Iterator[Check]:
    what = f"the checks of {commit[:7]}"
    for runs in api.pages(f"commits/{commit}/check-runs", TypeAdapter(_CheckRuns), what=what):
        for run in runs.check_runs:
            if run.status != "completed":
                yield Check(run.name, commit, CheckState.RUNNING, run.status)
            else:
                green = run.conclusion in _GREEN
                state = CheckState.GREEN if green else CheckState.FAILED
                yield Check(run.name, commit, state, run.conclusion or "")
    for combined in api.pages(f"commits/{commit}/status", TypeAdapter(_Statuses), what=what):
        for status in combined.statuses:
            yield Check(status.context, commit, _status_state(status.state), status.state)


def _status_state(state: str) -> CheckState:
    if state == "pending":
        return CheckState.RUNNING
    return CheckState.GREEN if state == "success" else CheckState.FAILED
