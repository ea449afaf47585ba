"""Promises of the review gate: who looked at what decides, and what is lacking is said.

A real HTTP server plays GitHub; its answers conform to GitHub's published description.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aideploy.errors import AideployError, ExitStatus, UsageError
from aideploy.gates import github
from aideploy.gates.github_http import Api, GitHubUnavailable, Patience
from aideploy.gates.review import Verdict, Waiver, judge, waived
from tests.lab.github import REPOSITORY, TOKEN, GitHub, Given, Person, Pull, Repository, Trouble

ADA, GRACE, LINUS = Person("ada"), Person("grace"), Person("linus")
LIVE, HEAD, OLD_HEAD, BEFORE = "a" * 40, "b" * 40, "c" * 40, "d" * 40
IMPATIENT = Patience(2, longest_pause=timedelta(seconds=1), timeout=timedelta(seconds=2))


def pull(*reviews: Given, **values: Any) -> Pull:
    """Ada's pull request, merged."""
    known: dict[str, Any] = {"number": 12, "by": ADA, "head": HEAD, "landed": LIVE}
    return Pull(reviews=reviews, **(known | values))


def approved(by: Person, commit: str = HEAD) -> Given:
    return Given(by, "APPROVED", commit)


GOOD = pull(approved(GRACE))


@pytest.fixture
def forge() -> Iterator[GitHub]:
    """A repository with one commit that may be deployed."""
    with GitHub(
        Repository(
            history=(LIVE, BEFORE),
            pulls=(GOOD,),
            required=("tests",),
            ruled=("lint",),
            runs={HEAD: (("tests", "success"), ("docs", "failure"))},
            statuses={HEAD: (("lint", "success"),)},
        )
    ) as server:
        yield server


def api(forge: GitHub, token: str = TOKEN, patience: Patience = IMPATIENT) -> Api:
    return Api(forge.api, REPOSITORY, token, "THE_TOKEN", patience, lambda _: None)


def verdict(
    forge: GitHub,
    revision: str = LIVE,
    *,
    approvals: int = 1,
    required: bool | tuple[str, ...] = True,
) -> Verdict:
    with api(forge) as line:
        facts = github.facts(line, revision, forge.repository.branch, required, lambda _: None)
    return judge(facts, approvals)


def lacking(forge: GitHub, revision: str = LIVE, **how: Any) -> str:
    return "\n".join(verdict(forge, revision, **how).lacking)


# -- what passes -------------------------------------------------------------------------------


def test_approved_and_green_passes(forge: GitHub) -> None:
    passed = verdict(forge)
    assert passed.lacking == ()
    assert str(passed) == "#12, approved by grace, tests, lint green"
    assert passed.record() == {
        "pull_request": "https://github.example/acme/ranker/pull/12",
        "approved_by": ["grace"],
        "checks": ["tests", "lint"],
    }


@pytest.mark.parametrize(
    ("landed", "history"),
    [(LIVE, (LIVE, HEAD, BEFORE)), (LIVE, (LIVE, BEFORE)), (HEAD, (HEAD, BEFORE))],
    ids=["merge commit", "squash or rebase", "fast-forward"],
)
def test_every_way_to_merge_is_as_good(
    forge: GitHub, landed: str, history: tuple[str, ...]
) -> None:
    forge.repository.history = history
    forge.repository.pulls = (pull(approved(GRACE), landed=landed),)
    assert lacking(forge, landed) == ""


def test_neutral_and_skipped_are_green_as_they_are_for_github(forge: GitHub) -> None:
    forge.repository.runs = {LIVE: (("tests", "skipped"), ("lint", "neutral"))}
    assert lacking(forge) == ""


def test_an_approval_after_asking_for_changes_counts(forge: GitHub) -> None:
    forge.repository.pulls = (pull(Given(GRACE, "CHANGES_REQUESTED", OLD_HEAD), approved(GRACE)),)
    assert lacking(forge) == ""


def test_a_comment_after_an_approval_takes_nothing_back(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), Given(GRACE, "COMMENTED", HEAD)),)
    assert lacking(forge) == ""


def test_a_branch_may_have_any_name_that_git_allows(forge: GitHub) -> None:
    forge.repository.branch = "release/2.0#hot%20fix"
    forge.repository.pulls = (pull(approved(GRACE), base=forge.repository.branch),)
    assert lacking(forge) == ""


# -- who approved ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reviews", "says"),
    [
        ((), "#12 has 0 of 1 approvals"),
        ((approved(ADA),), "0 of 1 approvals (not counted: ada: opened it or wrote a part of it)"),
        ((approved(GRACE, OLD_HEAD),), "grace: approved ccccccc, not its last commit bbbbbbb"),
        ((approved(Person("robot[bot]", kind="Bot")),), "robot[bot]: no person"),
        ((approved(Person("eve", "read")),), "eve: may not write to acme/ranker"),
        ((approved(Person("eve", None)),), "eve: may not write to acme/ranker"),
        ((approved(GRACE), Given(GRACE, "DISMISSED", HEAD)), "0 of 1 approvals"),
        ((Given(GRACE, "COMMENTED", HEAD),), "0 of 1 approvals"),
    ],
    ids=["nobody", "author", "stale", "bot", "reader", "stranger", "dismissed", "comment"],
)
def test_only_who_may_and_who_saw_it_counts(
    forge: GitHub, reviews: tuple[Given, ...], says: str
) -> None:
    forge.repository.pulls = (pull(*reviews),)
    assert says in lacking(forge)


def test_who_pushed_to_it_cannot_approve_it(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), writers=(ADA, GRACE)),)
    assert "grace: opened it or wrote a part of it" in lacking(forge)


def test_who_opened_it_cannot_approve_what_others_wrote(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(ADA), writers=(LINUS,)),)
    assert "ada: opened it or wrote a part of it" in lacking(forge)


def test_two_approvals_are_two_people(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), approved(GRACE)),)
    assert lacking(forge, approvals=2) == "#12 has 1 of 2 approvals"

    forge.repository.pulls = (pull(approved(GRACE), approved(LINUS)),)
    assert lacking(forge, approvals=2) == ""


def test_who_asks_for_changes_is_heard(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), Given(LINUS, "CHANGES_REQUESTED", HEAD)),)
    assert lacking(forge) == "linus asks for changes in #12"


def test_a_stranger_who_asks_for_changes_blocks_nothing(forge: GitHub) -> None:
    eve = Person("eve", "read")
    forge.repository.pulls = (pull(approved(GRACE), Given(eve, "CHANGES_REQUESTED", HEAD)),)
    assert lacking(forge) == ""


def test_who_wrote_under_an_address_of_no_account_may_be_who_approved(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), writers=(ADA, None)),)
    said = lacking(forge)
    assert "wrote a part of #12" in said
    assert "it may be grace, who approved" in said

    # One of two wrote nothing, whoever it was.
    forge.repository.pulls = (pull(approved(GRACE), approved(LINUS), writers=(ADA, None, None)),)
    assert lacking(forge) == ""
    assert "it may be grace or linus" in lacking(forge, approvals=2)

    forge.repository.pulls = (pull(writers=(None,)),)
    assert lacking(forge, approvals=0) == ""


def test_authors_that_github_does_not_list_are_not_taken_for_nobody(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), writers=(ADA,) * 250),)
    assert "too many commits to tell who wrote them" in lacking(forge)


# -- where it is -------------------------------------------------------------------------------


def test_an_unprotected_branch_proves_nothing(forge: GitHub) -> None:
    forge.repository.protected = False
    assert lacking(forge) == "the branch main of acme/ranker is not protected"


def test_a_commit_of_another_branch_is_refused(forge: GitHub) -> None:
    forge.repository.elsewhere = (OLD_HEAD,)
    said = lacking(forge, OLD_HEAD)
    assert "ccccccc is not on the branch main" in said
    assert "no pull request brought ccccccc to main" in said


def test_a_commit_that_was_never_pushed_is_refused(forge: GitHub) -> None:
    said = lacking(forge, "9" * 40)
    assert said == "acme/ranker has no commit 9999999: it was not pushed there"


def test_a_commit_that_was_pushed_past_pull_requests_is_refused(forge: GitHub) -> None:
    forge.repository.pulls = ()
    assert "no pull request brought aaaaaaa to main" in lacking(forge)


def test_an_open_pull_request_is_told_to_be_merged(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), landed=None, state="open"),)
    said = lacking(forge, HEAD)
    assert "bbbbbbb is not on the branch main" in said
    assert "#12 is not merged" in said


def test_a_pull_request_to_another_branch_does_not_count(forge: GitHub) -> None:
    forge.repository.pulls = (pull(approved(GRACE), base="next"),)
    assert "no pull request brought aaaaaaa to main" in lacking(forge)


def test_half_of_a_pull_request_is_not_what_was_reviewed(forge: GitHub) -> None:
    forge.repository.history = (LIVE, HEAD, OLD_HEAD, BEFORE)
    forge.repository.pulls = (pull(approved(GRACE), middle=(OLD_HEAD,)),)
    assert "ccccccc is in the middle of #12" in lacking(forge, OLD_HEAD)


def test_of_several_pull_requests_the_one_that_brought_it_is_judged(forge: GitHub) -> None:
    release = pull(number=13, head=OLD_HEAD, landed="e" * 40, middle=(LIVE,))
    forge.repository.pulls = (release, GOOD)
    assert lacking(forge) == ""


# -- its checks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ((("tests", "failure"),), "the check tests failed on bbbbbbb (failure)"),
        ((("tests", "timed_out"),), "the check tests failed on bbbbbbb (timed_out)"),
        ((("tests", "cancelled"),), "the check tests failed on bbbbbbb (cancelled)"),
        ((("tests", "queued"),), "the check tests is still running on bbbbbbb (queued)"),
        ((("tests", "success"), ("tests", "failure")), "the check tests failed"),
        ((), "the check tests did not run"),
    ],
)
def test_a_required_check_has_to_be_green(
    forge: GitHub, runs: tuple[tuple[str, str], ...], says: str
) -> None:
    forge.repository.runs = {HEAD: runs}
    assert says in lacking(forge)


@pytest.mark.parametrize(
    ("state", "says"),
    [("pending", "lint is still running"), ("error", "lint failed"), ("failure", "lint failed")],
)
def test_a_commit_status_is_a_check_too(forge: GitHub, state: str, says: str) -> None:
    forge.repository.statuses = {HEAD: (("lint", state),)}
    assert says in lacking(forge)


def test_a_check_that_became_red_on_the_branch_counts(forge: GitHub) -> None:
    forge.repository.runs = {**forge.repository.runs, LIVE: (("tests", "failure"),)}
    assert lacking(forge) == "the check tests failed on aaaaaaa (failure)"


def test_the_names_of_the_settings_win(forge: GitHub) -> None:
    assert lacking(forge, required=("tests",)) == ""
    assert "the check docs failed" in lacking(forge, required=("tests", "docs"))
    assert lacking(forge, required=("benchmarks",)) == "the check benchmarks did not run"


def test_a_branch_that_requires_nothing_is_not_green_by_that(forge: GitHub) -> None:
    forge.repository.required = forge.repository.ruled = ()
    assert "requires no checks" in lacking(forge)
    assert lacking(forge, required=False) == ""


def test_the_last_of_very_many_rules_is_seen(forge: GitHub) -> None:
    forge.repository.other_rules = 150
    forge.repository.statuses = {}
    assert lacking(forge) == "the check lint did not run"


def test_the_last_of_very_many_checks_is_seen(forge: GitHub) -> None:
    many = tuple((f"tests ({number})", "success") for number in range(250))
    forge.repository.runs = {HEAD: (*many, ("tests", "failure"))}
    assert "the check tests failed" in lacking(forge)
    pages = [asked for asked in forge.asked if asked.path.endswith("check-runs")]
    assert [asked.query.get("page") for asked in pages] == [None, None, "2", "3"]


# -- GitHub itself -----------------------------------------------------------------------------


def error(forge: GitHub, token: str = TOKEN) -> AideployError:
    with pytest.raises(AideployError) as caught, api(forge, token) as line:
        github.facts(line, LIVE, "main", True, lambda _: None)
    said = caught.value.what + caught.value.why + caught.value.next_step
    assert TOKEN not in said
    return caught.value


def test_a_wrong_token_is_said_and_not_shown(forge: GitHub) -> None:
    told = error(forge, "ghp_wrong")
    assert told.status == ExitStatus.USAGE
    assert told.what == "127.0.0.1 does not know the token in THE_TOKEN"
    assert "ghp_wrong" not in told.what + told.why + told.next_step


@pytest.mark.parametrize("token", ["two words", "new\nline", "tökén"])
def test_what_cannot_be_a_token_is_not_sent(forge: GitHub, token: str) -> None:
    told = error(forge, token)
    assert told.status == ExitStatus.USAGE
    assert token not in told.what + told.why
    assert forge.asked == []


def test_a_token_that_lacks_a_right_is_told_which(forge: GitHub) -> None:
    forge.repository.troubles = [
        Trouble(403, "check-runs", {"X-Accepted-GitHub-Permissions": "checks=read"})
    ]
    told = error(forge)
    assert told.status == ExitStatus.USAGE
    assert told.what.startswith("the token in THE_TOKEN has no right to the checks of aaaaaaa")
    assert "checks=read" in told.why


def test_what_the_token_may_not_see_looks_as_if_it_were_not_there(forge: GitHub) -> None:
    forge.repository.troubles = [Trouble(404, "branches/main")]
    told = error(forge)
    assert told.status == ExitStatus.USAGE
    assert told.what == "127.0.0.1 does not show the branch main of acme/ranker"
    assert "THE_TOKEN may not see it" in told.why


def test_a_moment_of_trouble_is_waited_for(forge: GitHub) -> None:
    forge.repository.troubles = [Trouble(502, "pulls", times=1), Trouble(500, "status", times=1)]
    assert lacking(forge) == ""


def test_lasting_trouble_is_an_error_and_no_approval(forge: GitHub) -> None:
    forge.repository.troubles = [Trouble(500, "reviews")]
    told = error(forge)
    assert isinstance(told, GitHubUnavailable)
    assert told.status == ExitStatus.NOT_READY
    assert told.what == "127.0.0.1 answers 500 when asked for the reviews of #12"
    assert len([asked for asked in forge.asked if asked.path.endswith("reviews")]) == 2


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {"Retry-After": "1"}),
        (429, {"Retry-After": "1"}),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}),
    ],
)
def test_a_rate_limit_that_soon_ends_is_waited_for(
    forge: GitHub, status: int, headers: dict[str, str]
) -> None:
    forge.repository.troubles = [Trouble(status, "reviews", headers, times=1)]
    told: list[str] = []
    began = time.monotonic()
    with Api(forge.api, REPOSITORY, TOKEN, "THE_TOKEN", IMPATIENT, told.append) as line:
        github.facts(line, LIVE, "main", True, lambda _: None)
    assert time.monotonic() - began >= 1
    assert told == ["the rate limit of the token in THE_TOKEN is used up; asked again in 1 s"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "3600"}, "{}"),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 3600)}, "{}"),
        ({}, '{"message": "You have exceeded a secondary rate limit."}'),
    ],
)
def test_a_rate_limit_that_lasts_is_told_with_its_end(
    forge: GitHub, headers: dict[str, str], body: str
) -> None:
    forge.repository.troubles = [Trouble(403, "reviews", headers, body)]
    told = error(forge)
    assert told.status == ExitStatus.NOT_READY
    assert "is used up until" in told.what


@pytest.mark.parametrize("body", ["<html>a login page</html>", "[]", '{"commit": {}}', ""])
def test_an_answer_that_is_not_githubs_is_no_approval(forge: GitHub, body: str) -> None:
    forge.repository.troubles = [Trouble(200, "branches/main", body=body)]
    assert "that is not one of GitHub's" in error(forge).what


def test_a_renamed_repository_is_found(forge: GitHub) -> None:
    there = {"Location": f"{forge.api}/repos/{REPOSITORY}/branches/main"}
    forge.repository.troubles = [Trouble(301, "branches/main", there, times=1)]
    assert lacking(forge) == ""


@pytest.mark.parametrize("trouble", ["redirect", "next page"])
def test_the_token_goes_to_no_other_server(forge: GitHub, trouble: str) -> None:
    with GitHub(Repository(history=(LIVE,))) as other:
        elsewhere = f"{other.api}/repos/{REPOSITORY}/branches/main"
        forge.repository.troubles = [
            Trouble(302, "branches/main", {"Location": elsewhere})
            if trouble == "redirect"
            else Trouble(200, "reviews", {"Link": f'<{elsewhere}>; rel="next"'}, "[]")
        ]
        assert isinstance(error(forge), GitHubUnavailable)
        assert not any(asked.token for asked in other.asked)


def unreachable(base: str) -> AideployError:
    line = Api(base, REPOSITORY, TOKEN, "THE_TOKEN", IMPATIENT, lambda _: None)
    with pytest.raises(GitHubUnavailable) as caught, line:
        github.facts(line, LIVE, "main", True, lambda _: None)
    assert TOKEN not in caught.value.what + caught.value.why
    return caught.value


def test_a_github_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert unreachable(f"http://127.0.0.1:{port}").what == "127.0.0.1 does not answer"


def test_a_github_that_says_nothing_is_not_waited_for_forever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        told = unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert told.what == "127.0.0.1 does not answer"
    assert 4 <= time.monotonic() - began < 15


def self_signed(path: Path) -> Path:
    """Write a key and a certificate of localhost that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_that_nobody_knows_is_told_with_what_to_set(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "localhost.pem"))
    with GitHub(Repository(history=(LIVE,))) as forge:
        forge.wrap(context)
        told = unreachable(forge.api.replace("http://127.0.0.1", "https://localhost"))
    assert told.what == "the certificate of localhost is not trusted"
    assert "SSL_CERT_FILE" in told.next_step


# -- leaving it out ----------------------------------------------------------------------------


def test_the_gate_is_left_out_for_a_reason_or_not_at_all() -> None:
    assert waived(None) is None
    assert waived(" the site\nis down ") == Waiver("the site is down")
    with pytest.raises(UsageError, match="takes the reason"):
        waived(" ")
