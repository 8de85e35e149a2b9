"""One comment on a pull request, posted once and updated, on recorded events and made answers; no network."""

import json
import shutil
from pathlib import Path

import pytest

from quantbench.cli import pull_request
from quantbench.cli.pull_request import PullRequest, post, pull_request_of
from quantbench.errors import ConfigError
from quantbench.report.comment import MARKER
from quantbench.report.documents import write_records

EVENTS = Path(__file__).parent / "github_events"
HEAD = "c0ffee0000000000000000000000000000000001"
HERE = PullRequest("team/model", 12)


class Service:
    """GitHub's comments, in memory.

    Attributes:
        comments: of the pull request.
        asked: method and path of each request.
        refuse: status that every writing request gets; 0 for none.
        head: commit of the pull request.
    """

    def __init__(self, *bodies, refuse=0, head=HEAD, theirs=()):
        self.comments = [{"id": i, "body": body} for i, body in enumerate(bodies)]
        self.asked, self.refuse, self.head, self.theirs = [], refuse, head, theirs

    def __call__(self, method, address, headers, body):
        assert headers["Authorization"] == "Bearer secret"
        path = address.removeprefix("https://api.github.com/repos/team/model/")
        self.asked.append(f"{method} {path}")
        if self.refuse:
            return self.refuse, b'{"message": "Resource not accessible by integration"}'
        return self._answer(method, path, json.loads(body) if body else {})

    def _answer(self, method, path, content):
        if path.startswith("pulls/"):
            return 200, json.dumps({"head": {"sha": self.head}}).encode()
        if method == "GET":
            page = int(path.rpartition("=")[2])
            return 200, json.dumps(self.comments[100 * (page - 1) : 100 * page]).encode()
        if method == "PATCH":
            number = int(path.rpartition("/")[2])
            if number in self.theirs:
                return 403, b"{}"
            self.comments[number].update(content)
        else:
            self.comments.append({"id": len(self.comments), **content})
            number = -1
        return 200, json.dumps({"html_url": f"https://github.com/c/{self.comments[number]['id']}"}).encode()


def test_a_first_comment_is_posted():
    service = Service("hello")
    assert post(f"{MARKER}\nnew", HERE, "secret", service) == "https://github.com/c/1"
    assert [each["body"] for each in service.comments] == ["hello", f"{MARKER}\nnew"]


def test_the_next_one_takes_its_place_however_many_others_there_are():
    service = Service(*["hello"] * 120, f"{MARKER}\nold", "bye")
    assert post(f"{MARKER}\nnew", HERE, "secret", service) == "https://github.com/c/120"
    assert len(service.comments) == 122
    assert service.comments[120]["body"] == f"{MARKER}\nnew"


def test_a_comment_of_somebody_else_with_our_marker_stays():
    service = Service(f"{MARKER}\nours", f"{MARKER}\ntheirs", theirs={1})
    post(f"{MARKER}\nnew", HERE, "secret", service)
    assert [each["body"] for each in service.comments] == [f"{MARKER}\nnew", f"{MARKER}\ntheirs"]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_without_rights_is_one_line(status):
    with pytest.raises(ConfigError) as raised:
        post(MARKER, HERE, "secret", Service(refuse=status))
    assert str(raised.value).startswith(
        f"$GITHUB_TOKEN: may not write a comment on team/model#12 (HTTP {status}, Resource not accessible by "
        "integration); give the job 'permissions: pull-requests: write'"
    )
    assert "\n" not in str(raised.value)


def test_a_service_that_fails_or_is_not_there_is_one_line():
    with pytest.raises(ConfigError, match=r"^team/model#12: the comment was not posted \(HTTP 502"):
        post(MARKER, HERE, "secret", Service(refuse=502))

    def unreachable(*_):
        raise OSError("no route")

    with pytest.raises(ConfigError, match=r"^https://api.github.com: cannot be reached \(no route\)"):
        post(MARKER, HERE, "secret", unreachable)


def test_a_token_is_never_sent_in_the_clear():
    with pytest.raises(ConfigError, match="sent by https:// only"):
        post(MARKER, HERE, "secret", api="http://localhost:1")


def test_events_say_their_pull_request(tmp_path):
    (tmp_path / "number.txt").write_text("12\n")
    assert pull_request_of(EVENTS / "pull_request.json", "team/model") == HERE
    assert pull_request_of(EVENTS / "push.json", "team/model") is None
    found = pull_request_of(EVENTS / "workflow_run.json", "team/model", tmp_path / "number.txt")
    assert found == PullRequest("team/model", 12, HEAD)


@pytest.mark.parametrize("text", ["", "0", "12; rm", "-1", "9" * 11, "../3"])
def test_a_number_of_a_stranger_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "number.txt").write_text(text)
    with pytest.raises(ConfigError, match="holds no number of a pull request"):
        pull_request_of(EVENTS / "workflow_run.json", "team/model", tmp_path / "number.txt")


def test_a_number_of_another_pull_request_is_refused():
    service = Service(head="d" * 40)
    with pytest.raises(ConfigError, match="is not at the commit c0ffee000000 that was measured; nothing is posted"):
        post(MARKER, PullRequest("team/model", 13, HEAD), "secret", service)
    assert service.asked == ["GET pulls/13"]
    post(MARKER, PullRequest("team/model", 12, HEAD), "secret", Service())


@pytest.mark.parametrize(
    ("event", "repository", "line"),
    [
        ("absent.json", "team/model", "cannot be read"),
        ("text.json", "team/model", "is no JSON"),
        ("workflow_run.json", "team/model", "--number: the workflow that ran before says no number"),
        ("push.json", "no repository", r"\$GITHUB_REPOSITORY: is 'no repository'"),
    ],
)
def test_events_that_cannot_be_used_are_one_line(tmp_path, event, repository, line):
    shutil.copytree(EVENTS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "text.json").write_text("no")
    with pytest.raises(ConfigError, match=line):
        pull_request_of(tmp_path / event, repository)


@pytest.fixture
def job(tmp_path, monkeypatch, make_record):
    write_records(tmp_path / "records.json", [make_record("w/a")], [])
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "EVENT_PATH": EVENTS / "pull_request.json",
        "REPOSITORY": "team/model",
        "TOKEN": "secret",
    }.items():
        monkeypatch.setenv(f"GITHUB_{name}", str(value))
    monkeypatch.delenv("GITHUB_API_URL", raising=False)
    service = Service()
    monkeypatch.setattr(pull_request, "_send", service)
    return service


def test_the_command_posts_what_it_made(quantbench, job):
    assert quantbench("comment", "records.json", "--post") == (0, "https://github.com/c/0\n", "")
    assert job.comments[0]["body"].startswith(f"{MARKER}\n### quantbench: All 1 gates of 1 experiment hold\n")


def test_a_push_has_nothing_to_comment_on(quantbench, job, monkeypatch):
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(EVENTS / "push.json"))
    status, out, err = quantbench("comment", "records.json", "--post")
    assert (status, out, job.asked) == (0, "", [])
    assert err == "quantbench: the event is of no pull request; nothing is posted\n"


@pytest.mark.parametrize(
    ("name", "line"), [("TOKEN", "GITHUB_TOKEN is not set"), ("EVENT_PATH", "GITHUB_EVENT_PATH is not set")]
)
def test_a_job_without_what_posting_needs_is_one_line(quantbench, job, monkeypatch, name, line):
    monkeypatch.delenv(f"GITHUB_{name}")
    status, _, err = quantbench("comment", "records.json", "--post")
    assert status == 2
    assert line in err
    assert (err.count("\n"), job.asked) == (1, [])
