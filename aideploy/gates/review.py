"""The review gate: whether a commit was looked at by enough people and its checks are green.

Pure: what the forge knows of a commit goes in, a verdict with its reasons comes out. A release
needs a commit that is on the protected branch and came there by a pull request that was merged as
it was approved. `github` asks for the facts, `reviewing` runs the gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from aideploy.errors import UsageError


class Place(Enum):
    """Where a commit is, seen from the branch."""

    ON_BRANCH = auto()
    ELSEWHERE = auto()
    UNKNOWN = auto()
    """The forge has no such commit."""


class Judgement(StrEnum):
    """What a review says; comments say nothing."""

    APPROVED = "APPROVED"
    CHANGES_REQUESTED = "CHANGES_REQUESTED"
    DISMISSED = "DISMISSED"


class CheckState(Enum):
    """How a check stands on a commit."""

    GREEN = auto()
    RUNNING = auto()
    FAILED = auto()


@dataclass(frozen=True)
class PullRequest:
    """A pull request to the branch.

    Args:
        head: the last commit that was pushed to it: what reviewers see.
        landed: the commit of the branch that it became; empty until it is merged. After a merge
            commit, a squash or a rebase alike it holds all of it.
        is_merged: whether it was.
        writers: who opened it and who wrote or committed a part of it.
        strangers: the addresses of those writers whose account the forge does not know.
        knows_writers: whether these are all; the forge does not list every commit of a huge one.
        url: for people.
    """

    number: int
    head: str
    landed: str
    is_merged: bool
    writers: frozenset[str] = frozenset()
    strangers: tuple[str, ...] = ()
    knows_writers: bool = True
    url: str = ""

    def __str__(self) -> str:
        return f"#{self.number}"


@dataclass(frozen=True)
class Opinion:
    """One review of a pull request.

    Args:
        commit: the last commit of the pull request when it was given.
        is_person: false for a bot or an app.
    """

    user: str
    judgement: Judgement
    commit: str
    is_person: bool = True


@dataclass(frozen=True)
class Check:
    """How a check came out on a commit. `said` is the forge's own word for it."""

    name: str
    commit: str
    state: CheckState
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the forge knows of a commit.

    Args:
        pull: the pull request that brought it, or would; None if there is none.
        opinions: its reviews, oldest first.
        may_write: which of the reviewers may write to the repository.
        required: the names of the checks that have to be green; None if none are asked for.
        checks: of the commit and of the pull request's head.
    """

    revision: str
    repository: str
    branch: str
    is_protected: bool
    place: Place
    pull: PullRequest | None = None
    opinions: tuple[Opinion, ...] = ()
    may_write: frozenset[str] = frozenset()
    required: tuple[str, ...] | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the gate says. It passes when nothing is lacking.

    Args:
        lacking: what is, each as one sentence.
        pull: the pull request that was judged.
        approved_by: whose approvals count.
        checks: the names of the checks that had to be green.
    """

    lacking: tuple[str, ...] = ()
    pull: PullRequest | None = None
    approved_by: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [str(self.pull)] if self.pull else []
        if self.approved_by:
            parts.append(f"approved by {', '.join(self.approved_by)}")
        if self.checks:
            parts.append(f"{', '.join(self.checks)} green")
        return ", ".join(parts)

    def record(self) -> Mapping[str, object]:
        """Return what release.json says of it."""
        return {
            "pull_request": self.pull.url if self.pull else None,
            "approved_by": list(self.approved_by),
            "checks": list(self.checks),
        }


@dataclass(frozen=True)
class Waiver:
    """The gate was left out on purpose. `reason` is why, in the words of who did it."""

    reason: str

    def __str__(self) -> str:
        return f"the review was left out: {self.reason}"

    def record(self) -> Mapping[str, object]:
        """Return what release.json says of it."""
        return {"left_out": self.reason}


def waived(reason: str | None) -> Waiver | None:
    """Return the waiver for the reason that was typed; None if nothing was.

    Raises:
        UsageError: there is nothing in it.
    """
    if reason is None:
        return None
    words = " ".join(reason.split())
    if not words:
        raise UsageError(
            "--no-review takes the reason, for those who read the journals later",
            next_step="for example: fab deploy --no-review 'the site is down, GitHub too'",
        )
    return Waiver(words)


def judge(facts: Facts, approvals: int) -> Verdict:
    """Return whether the commit may be deployed, and all that is lacking.

    Args:
        facts: what the forge knows.
        approvals: how many people have to approve.
    """
    approved_by = _approved_by(facts)
    return Verdict(
        lacking=(
            *_of_branch(facts),
            *_of_pull(facts),
            *_of_reviews(facts, approved_by, approvals),
            *_of_checks(facts),
        ),
        pull=facts.pull,
        approved_by=approved_by,
        checks=facts.required or (),
    )


def brought(pulls: Iterable[PullRequest], revision: str) -> PullRequest | None:
    """Return the pull request that brought the commit: one that was merged with it as its last.

    Args:
        pulls: all to the branch that hold the commit.
        revision: the commit.
    """

    def rank(pull: PullRequest) -> tuple[bool, bool]:
        return pull.is_merged, revision in (pull.landed, pull.head)

    return max(pulls, key=rank, default=None)


def latest(opinions: Iterable[Opinion]) -> tuple[Opinion, ...]:
    """Return the last opinion of each user."""
    return tuple({opinion.user: opinion for opinion in opinions}.values())


def _of_branch(facts: Facts) -> Iterator[str]:
    if not facts.is_protected:
        yield f"the branch {facts.branch} of {facts.repository} is not protected"
    if facts.place is Place.UNKNOWN:
        yield f"{facts.repository} has no commit {facts.revision[:7]}: it was not pushed there"
    elif facts.place is Place.ELSEWHERE:
        yield f"{facts.revision[:7]} is not on the branch {facts.branch}"


def _of_pull(facts: Facts) -> Iterator[str]:
    pull = facts.pull
    if facts.place is Place.UNKNOWN:
        return
    if pull is None:
        yield f"no pull request brought {facts.revision[:7]} to {facts.branch}"
    elif not pull.is_merged:
        yield f"{pull} is not merged"
    elif facts.revision not in (pull.landed, pull.head):
        yield (
            f"{facts.revision[:7]} is in the middle of {pull}; "
            f"what was reviewed is all of it, {pull.landed[:7]}"
        )


def _approved_by(facts: Facts) -> tuple[str, ...]:
    return tuple(
        opinion.user
        for opinion in latest(facts.opinions)
        if opinion.judgement is Judgement.APPROVED and not _objection(opinion, facts)
    )


def _objection(opinion: Opinion, facts: Facts) -> str:
    """Return why an approval does not count; nothing if it does."""
    pull = facts.pull
    if not opinion.is_person:
        return "no person"
    if opinion.user not in facts.may_write:
        return f"may not write to {facts.repository}"
    if pull and opinion.user in pull.writers:
        return "opened it or wrote a part of it"
    if pull and opinion.commit != pull.head:
        return f"approved {opinion.commit[:7]}, not its last commit {pull.head[:7]}"
    return ""


def _of_reviews(facts: Facts, approved_by: tuple[str, ...], approvals: int) -> Iterator[str]:
    pull = facts.pull
    if pull is None:
        return
    opinions = latest(facts.opinions)
    if len(approved_by) < approvals:
        uncounted = [
            f"{opinion.user}: {why}"
            for opinion in opinions
            if opinion.judgement is Judgement.APPROVED and (why := _objection(opinion, facts))
        ]
        more = f" (not counted: {'; '.join(uncounted)})" if uncounted else ""
        yield f"{pull} has {len(approved_by)} of {approvals} approvals{more}"
    elif approvals and not pull.knows_writers:
        yield f"{pull} has too many commits to tell who wrote them, and so whose approval counts"
    elif approvals and len(approved_by) - len(pull.strangers) < approvals:
        who = f"{', '.join(pull.strangers)} wrote a part of {pull}, an address of no known account"
        yield f"{who}: it may be {' or '.join(approved_by)}, who approved"
    for opinion in opinions:
        if opinion.judgement is Judgement.CHANGES_REQUESTED and opinion.user in facts.may_write:
            yield f"{opinion.user} asks for changes in {pull}"


def _of_checks(facts: Facts) -> Iterator[str]:
    if facts.required is None or facts.place is Place.UNKNOWN:
        return
    if not facts.required:
        yield f"the branch {facts.branch} requires no checks, so that none can be green"
    for name in facts.required:
        runs = [check for check in facts.checks if check.name == name]
        if not runs:
            yield f"the check {name} did not run"
        for check in runs:
            if check.state is CheckState.RUNNING:
                yield f"the check {name} is still running on {check.commit[:7]} ({check.said})"
            elif check.state is CheckState.FAILED:
                yield f"the check {name} failed on {check.commit[:7]} ({check.said})"
