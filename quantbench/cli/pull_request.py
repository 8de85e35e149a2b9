"""One comment of ours on a pull request of GitHub, posted once and kept up to date."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.errors import ConfigError
from quantbench.files import read_text
from quantbench.report.comment import MARKER

# Method, address, headers and body of a request → status and body of its answer.
Send = Callable[[str, str, Mapping[str, str], bytes | None], tuple[int, bytes]]
API = "https://api.github.com"
# Comments of a page, and pages that are searched for ours.
PER_PAGE, MOST_PAGES = 100, 30
# Seconds that one answer may take; bytes of an event.
PATIENCE, MOST_BYTES = 30, 1 << 24
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
RIGHTS = (
    "give the job 'permissions: pull-requests: write'; a pull request from a fork has no such right, see the two "
    "workflows of docs/ci.md"
)


@dataclass(frozen=True)
class PullRequest:
    """A pull request.

    Attributes:
        repository: `owner/name` of the base.
        number: of the pull request.
        head: commit that its comment must be about; empty where the event itself is of the pull request.
    """

    repository: str
    number: int
    head: str = ""


def pull_request_of(event: Path, repository: str, number: Path | None = None) -> PullRequest | None:
    """The pull request of an event; None where the event is about none, such as a push.

    Args:
        event: JSON that GitHub gives a job, `$GITHUB_EVENT_PATH`.
        repository: `owner/name`, `$GITHUB_REPOSITORY`.
        number: file with the number that a workflow without rights wrote, for an event `workflow_run`.

    Raises:
        ConfigError: if the event cannot be read, or a run of another workflow came without the number.
    """
    if not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"$GITHUB_REPOSITORY: is {repository!r:.60}; write OWNER/NAME")
    try:
        content = json.loads(read_text(event, MOST_BYTES))
    except OSError as error:
        raise ConfigError(f"{event}: cannot be read ({error.strerror}); set $GITHUB_EVENT_PATH") from None
    except ValueError:
        raise ConfigError(f"{event}: is no JSON; set $GITHUB_EVENT_PATH to the event of the job") from None
    found = content if isinstance(content, dict) else {}
    if isinstance(run := found.get("workflow_run"), dict):
        return _of_run(run, repository, number)
    own = found.get("pull_request")
    if not isinstance(own, dict) or not isinstance(own.get("number"), int):
        return None
    return PullRequest(repository, own["number"])


def _of_run(run: dict[str, Any], repository: str, number: Path | None) -> PullRequest | None:
    if run.get("event") not in ("pull_request", "pull_request_target"):
        return None
    if number is None:
        raise ConfigError(
            "--number: the workflow that ran before says no number; write it to a file there, and name it"
        )
    try:
        text = read_text(number, 100).strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not re.fullmatch(r"[1-9]\d{0,9}", text):
        raise ConfigError(f"--number {number}: holds no number of a pull request; write github.event.number to it")
    return PullRequest(repository, int(text), str(run.get("head_sha", "")) or "unknown")


def post(body: str, to: PullRequest, token: str, send: Send | None = None, api: str = API) -> str:
    """Writes the comment in the place of the last one of ours, or anew.

    Args:
        body: Markdown that begins with the marker.
        to: the pull request.
        token: with the right to write comments.
        send: makes a request.
        api: address of the service.

    Returns:
        Address of the comment.

    Raises:
        ConfigError: in one line, if the token lacks rights, the service cannot be reached, or the pull request is not
            at the commit that the records are of.
    """
    client = _Client(send or _send, token, api.rstrip("/"), to)
    if to.head:
        client.check_head()
    for own in client.comments():
        status, answer = client.ask("PATCH", f"issues/comments/{own}", {"body": body})
        # Of somebody else who quotes our marker; the next one may be ours.
        if status not in (403, 404):
            return client.address(status, answer)
    return client.address(*client.ask("POST", f"issues/{to.number}/comments", {"body": body}))


@dataclass(frozen=True)
class _Client:
    send: Send
    token: str
    api: str
    to: PullRequest

    def ask(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Status and content of an answer."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "quantbench",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        body = None if content is None else json.dumps(content).encode()
        address = f"{self.api}/repos/{self.to.repository}/{path}"
        try:
            status, answer = self.send(method, address, headers, body)
        except OSError as error:
            raise ConfigError(f"{self.api}: cannot be reached ({error}); the comment was not posted") from None
        try:
            return status, json.loads(answer)
        except ValueError:
            return status, None

    def check_head(self) -> None:
        """Refuses a number that a stranger's workflow made up: the records must be of the commit that is there."""
        status, found = self.ask("GET", f"pulls/{self.to.number}")
        self._check(status, found)
        head = found.get("head", {}).get("sha") if isinstance(found, dict) else None
        if head != self.to.head:
            raise ConfigError(
                f"{self._place}: is not at the commit {self.to.head:.12} that was measured; nothing is posted: a newer "
                "run will, or the number is not that of the run"
            )

    def comments(self) -> list[int]:
        """Ids of comments that begin with our marker, the newest first."""
        found: list[int] = []
        for page in range(1, MOST_PAGES + 1):
            status, answer = self.ask("GET", f"issues/{self.to.number}/comments?per_page={PER_PAGE}&page={page}")
            self._check(status, answer)
            listed = [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
            found += [each["id"] for each in listed if str(each.get("body", "")).startswith(MARKER)]
            if len(listed) < PER_PAGE:
                break
        return found[::-1]

    def address(self, status: int, answer: Any) -> str:
        """Address of the comment."""
        self._check(status, answer)
        return str(answer.get("html_url", self._place)) if isinstance(answer, dict) else self._place

    def _check(self, status: int, answer: Any) -> None:
        if status < 300:
            return
        said = answer.get("message", "") if isinstance(answer, dict) else ""
        what = f"HTTP {status}{f', {said}' if said else ''}"
        if status in (401, 403, 404):
            raise ConfigError(f"$GITHUB_TOKEN: may not write a comment on {self._place} ({what}); {RIGHTS}")
        raise ConfigError(f"{self._place}: the comment was not posted ({what}); run the job again")

    @property
    def _place(self) -> str:
        return f"{self.to.repository}#{self.to.number}"


def _send(method: str, address: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
    if not address.startswith("https://"):
        raise ConfigError(f"$GITHUB_API_URL: is {address!r:.60}; a token is sent by https:// only")
    request = urllib.request.Request(address, data=body, headers=dict(headers), method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
