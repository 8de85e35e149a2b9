"""A project under version control, whose revisions are made in this process unless a test asks for fresh ones."""

import pytest
from versioned import git

IGNORED = "/cache/\n/data/\n/bench/\n__pycache__/\n"


@pytest.fixture
def repository(project, machine, monkeypatch, request):
    """The project in a repository with one commit."""
    from quantbench.against import made, speed

    (project.root / ".gitignore").write_text(IGNORED)
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "one")
    monkeypatch.setattr(speed, "time_in_fresh_process", machine.time_in_fresh_process)
    if "real_processes" not in request.fixturenames:
        monkeypatch.setattr(made, "in_fresh_process", machine.in_this_process)
    return project
