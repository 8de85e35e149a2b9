"""Compiled programs, kept from run to run: each takes seconds, and is known by its content."""

import pytest

from quantbench.files import cache_dir


@pytest.fixture(scope="session")
def kept_compilations(request):
    """A folder beside pytest's own cache."""
    return request.config.cache.mkdir("quantbench_compiled")


@pytest.fixture(autouse=True)
def _compiled_once(kept_compilations, monkeypatch, tmp_path):
    """Lets the cache of each test hold what others compiled; the rest of it is its own."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    share(kept_compilations)


def share(kept):
    """Links what is compiled into the cache of now."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    for name in ("compiled", "inductor"):
        (kept / name).mkdir(exist_ok=True)
        if not (cache_dir() / name).exists():
            (cache_dir() / name).symlink_to(kept / name)
