"""`quantbench comment`: verdicts as a comment on a change."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def comment(
    records: Annotated[list[Path], typer.Argument(help="Files written by --json.")],
    base: Annotated[
        list[Path] | None, typer.Option(help="Records of what the change is based on; may be repeated.")
    ] = None,
    link: Annotated[str, typer.Option(help="Address of the whole report.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write the Markdown to this file instead of printing it.")] = None,
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Print commands that show verdicts on a page of GitHub Actions.")
    ] = False,
    post: Annotated[
        bool, typer.Option("--post", help="Post it on the pull request of the job's event, or update ours there.")
    ] = False,
    number: Annotated[
        Path | None, typer.Option(help="File with the pull request's number, where the event is of another workflow.")
    ] = None,
) -> None:
    """Write verdicts, newly failing gates and flipped samples as Markdown of at most 60 lines.

    --post reads GITHUB_EVENT_PATH, GITHUB_REPOSITORY, GITHUB_TOKEN and GITHUB_API_URL, as GitHub Actions sets them.
    """
    from quantbench.files import write_text
    from quantbench.report import comment as markdown
    from quantbench.report.documents import check_place, read_all

    if out:
        check_place(out, "--out", [*records, *(base or [])])
    found = read_all(records, empty=True)
    text = markdown.comment(found, read_all(base, empty=True) if base else None, _checked(link))
    if annotations:
        print(markdown.commands(found.records, found.errors, found.not_run), end="")
    if out:
        write_text(out, text)
    if post:
        _post(text, number)
    elif not out and not annotations:
        print(text, end="")


def _checked(link: str) -> str:
    from quantbench.errors import ConfigError

    if link and (not link.startswith(("https://", "http://")) or any(each in link for each in " <>()\n\"'")):
        raise ConfigError(f"--link {link!r:.80}: is no address; write https://…")
    return link


def _post(text: str, number: Path | None) -> None:
    from quantbench.cli.pull_request import API, RIGHTS, post, pull_request_of
    from quantbench.errors import ConfigError

    event, token = os.environ.get("GITHUB_EVENT_PATH"), os.environ.get("GITHUB_TOKEN")
    if not event:
        raise ConfigError("--post: GITHUB_EVENT_PATH is not set, so that there is no pull request; run it in a job")
    to = pull_request_of(Path(event), os.environ.get("GITHUB_REPOSITORY", ""), number)
    if to is None:
        print("quantbench: the event is of no pull request; nothing is posted", file=sys.stderr)
        return
    if not token:
        raise ConfigError(f"--post: GITHUB_TOKEN is not set; {RIGHTS}")
    print(post(text, to, token, api=os.environ.get("GITHUB_API_URL") or API))
