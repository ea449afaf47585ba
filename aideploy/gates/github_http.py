"""How GitHub is spoken to: one client with its manners, and what goes wrong put into words.

The review gate reads through it, the deployment statuses write through it. It knows HTTP, retries,
rate limits and pages, and nothing of what is asked. httpx is imported when a client is made,
because it takes its time. The token is in a header and nowhere else.

Sources: GitHub's REST documentation, "Rate limits for the REST API", "Using pagination in the REST
API" and "Best practices for using the REST API"; X-Accepted-GitHub-Permissions from
"Troubleshooting the REST API".
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from aideploy.errors import AideployError, ExitStatus, words_of
from aideploy.settings.secrets import as_token

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_VERSION = "2022-11-28"
_PER_PAGE = 100
_MOST_PAGES = 100
_SECONDARY_LIMIT = timedelta(minutes=1)


@dataclass(frozen=True)
class Patience:
    """How long to bear with GitHub.

    Args:
        attempts: how often the same is asked while the answer may be another one next time.
        longest_pause: a rate limit that ends later than that is an error.
        timeout: for a connection, and for each piece of an answer.
    """

    attempts: int
    longest_pause: timedelta
    timeout: timedelta


# A gate would rather wait than stop a deploy that took its time so far.
OF_A_GATE = Patience(4, longest_pause=timedelta(seconds=60), timeout=timedelta(seconds=20))
# Nobody should have to wait for what is only told.
OF_A_NOTE = Patience(2, longest_pause=timedelta(seconds=2), timeout=timedelta(seconds=5))


class GitHubUnavailable(AideployError):
    """GitHub gave no answer that could be used; the commit was not judged."""


class GitHubRefusesUs(AideployError):
    """The token is wrong, or may not see or do what is asked for."""

    status = ExitStatus.USAGE


class _TryAgain(GitHubUnavailable):
    """As it is, with the time after which the answer may be another one."""

    def __init__(self, what: str, *, why: str = "", pause: timedelta | None = None) -> None:
        super().__init__(what, why=why, next_step="run the same command again later")
        self.pause = pause


class Api:
    """The REST API of one GitHub for one repository. Use as a context manager.

    Args:
        base: its address, without a slash at the end.
        repository: "owner/name"; the paths below are relative to it.
        token: its value.
        token_name: its name, for people.
        patience: how long to bear with it.
        say: told in a few words when we have to wait.

    Raises:
        SettingsError: the token holds something that no header can.
    """

    def __init__(
        self,
        base: str,
        repository: str,
        token: str,
        token_name: str,
        patience: Patience,
        say: Callable[[str], None],
    ) -> None:
        import httpx

        address = httpx.URL(base)
        self.place = address.host
        self.repository = repository
        self._token_name = token_name
        self._patience = patience
        self._origin = _origin(address)
        self._say = say
        self._client = httpx.Client(
            base_url=f"{base}/repos/{repository}/",
            headers={
                "Authorization": f"Bearer {as_token(token, token_name)}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": _VERSION,
                "User-Agent": "aideploy",
            },
            timeout=patience.timeout.total_seconds(),
            follow_redirects=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, shape: TypeAdapter[T], *, what: str, **query: str) -> T:
        """Return one thing.

        Args:
            path: below the repository, quoted.
            shape: what the answer has to look like.
            what: it is, for people.
            query: the parameters.

        Raises:
            GitHubUnavailable, GitHubRefusesUs: it could not be had.
        """
        return self._read(self._ask("GET", path, what, query=query), shape, what)

    def find(self, path: str, shape: TypeAdapter[T], *, what: str, **query: str) -> T | None:
        """Return one thing, or None if there is none; see `get`."""
        answer = self._ask("GET", path, what, query=query, may_lack=True)
        return None if answer.status_code == 404 else self._read(answer, shape, what)

    def pages(
        self, path: str, shape: TypeAdapter[T], *, what: str, may_lack: bool = False
    ) -> Iterator[T]:
        """Yield every page of a list; none of one that may lack and does. See `get`."""
        query = {"per_page": str(_PER_PAGE)}
        for _ in range(_MOST_PAGES):
            answer = self._ask("GET", path, what, query=query, may_lack=may_lack)
            if answer.status_code == 404:
                return
            yield self._read(answer, shape, what)
            following = answer.links.get("next", {}).get("url")
            if following is None:
                return
            # It has the parameters in it.
            path, query = following, {}
        raise GitHubUnavailable(f"GitHub has no end of {what}")

    def post(self, path: str, body: Mapping[str, object], shape: TypeAdapter[T], *, what: str) -> T:
        """Make one thing and return it; see `get`."""
        return self._read(self._ask("POST", path, what, body=body), shape, what)

    # -- inside ---------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        may_lack: bool = False,
    ) -> httpx.Response:
        def once() -> httpx.Response:
            answer = self._send(method, path, query or None, body)
            if answer.is_success or (may_lack and answer.status_code == 404):
                return answer
            raise self._refusal(answer, what)

        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(self._patience.attempts),
            wait=_pause,
            sleep=time.sleep,
            before_sleep=self._say_why_we_wait,
            reraise=True,
        )
        return retrying(once)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
    ) -> httpx.Response:
        import httpx

        try:
            request = self._client.build_request(method, path, params=query, json=body)
            if _origin(request.url) != self._origin:
                raise GitHubUnavailable(f"{self.place} names a next page that is somewhere else")
            answer = self._client.send(request)
        except httpx.TooManyRedirects:
            raise GitHubUnavailable(f"{self.place} redirects without end") from None
        except httpx.HTTPError as error:
            if untrusted := _certificate_error(error):
                raise GitHubUnavailable(
                    f"the certificate of {self.place} is not trusted",
                    why=untrusted,
                    next_step="for a GitHub with a certificate authority of its own: set "
                    "SSL_CERT_FILE to the file with its certificate",
                ) from None
            raise _TryAgain(f"{self.place} does not answer", why=words_of(error)) from None
        if _origin(answer.url) != self._origin:
            # The token stayed here: httpx does not send it to another host.
            raise GitHubUnavailable(f"{self.place} redirects to {answer.url.host}")
        return answer

    def _say_why_we_wait(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._say(f"{error}; asked again in {state.upcoming_sleep:.0f} s")

    def _refusal(self, answer: httpx.Response, what: str) -> AideployError:
        """Return the error that an answer is."""
        status, said = answer.status_code, _message(answer)
        if status >= 500:
            return _TryAgain(f"{self.place} answers {status} when asked for {what}", why=said)
        if status in (403, 429) and (pause := _rate_limit(answer, said)) is not None:
            return self._limited(pause)
        if status == 401:
            return GitHubRefusesUs(
                f"{self.place} does not know the token in {self._token_name}",
                why=said,
                next_step=f"it may have expired: make a new one and set {self._token_name} to it",
            )
        if status == 403:
            needs = answer.headers.get("X-Accepted-GitHub-Permissions")
            return GitHubRefusesUs(
                f"the token in {self._token_name} has no right to {what} in {self.repository}",
                why=f"{said}; it needs: {needs}" if needs else said,
                next_step="give it that right; docs/review.md lists all that are needed",
            )
        if status == 404:
            return GitHubRefusesUs(
                f"{self.place} does not show {what} of {self.repository}",
                why="it is not there, or the token in "
                f"{self._token_name} may not see it: GitHub does not say which",
                next_step="compare [review] repository and [app] branch, and the token's rights",
            )
        return GitHubUnavailable(f"{self.place} answers {status} when asked for {what}", why=said)

    def _limited(self, pause: timedelta) -> AideployError:
        what = f"the rate limit of the token in {self._token_name} is used up"
        if pause <= self._patience.longest_pause:
            return _TryAgain(what, pause=pause)
        free = datetime.now(UTC) + pause
        return GitHubUnavailable(
            f"{what} until {free:%H:%M} UTC", next_step="run the same command again after that"
        )

    def _read(self, answer: httpx.Response, shape: TypeAdapter[T], what: str) -> T:
        try:
            return shape.validate_json(answer.content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise GitHubUnavailable(
                f"{self.place} gives an answer about {what} that is not one of GitHub's",
                why=f"{where}: {first['msg']}" if where else first["msg"],
                next_step="see whether [review] api is the address of the API",
            ) from None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _pause(state: RetryCallState) -> float:
    """Return for how many seconds to wait: as GitHub says, else 1, 2, 4 …"""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _TryAgain) and error.pause is not None:
        return error.pause.total_seconds()
    return float(2 ** (state.attempt_number - 1))


def _rate_limit(answer: httpx.Response, said: str) -> timedelta | None:
    """Return how long the rate limit lasts; None if that is not why it refuses."""
    headers = answer.headers
    after = headers.get("Retry-After", "")
    if after.isdecimal():
        return timedelta(seconds=int(after[:6]))
    reset = headers.get("X-RateLimit-Reset", "")
    if headers.get("X-RateLimit-Remaining") == "0" and reset.isdecimal():
        # A second more: the clocks need not agree.
        left = int(reset[:12]) - time.time() + 1
        return timedelta(seconds=min(max(left, 1), 86_400))
    if answer.status_code == 429 or "secondary rate limit" in said.lower():
        return _SECONDARY_LIMIT
    return None


def _message(answer: httpx.Response) -> str:
    """Return GitHub's own words."""
    try:
        body: Any = answer.json()
    except ValueError:
        return ""
    said = body.get("message") if isinstance(body, dict) else None
    return said[:300] if isinstance(said, str) else ""


def _certificate_error(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return ""
