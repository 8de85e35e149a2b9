"""Jobs for other processes: they tell of themselves, fail, die, or wait until they are stopped."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from quantbench.errors import TrainingError

# Seconds after which a job that waits for another one in vain ends itself.
PATIENCE_S = 60


def tell(job, show):
    """Its process, and what it was given."""
    return os.getpid(), job


def fail(job, show):
    """As a training that diverges, if the job says so."""
    if job:
        raise TrainingError(f"the loss is nan in {job}")
    return "done"


def stumble(job, show):
    """As code with a mistake in it."""
    return {}[job]


def die_once(job, show):
    """Is killed, in the first process that comes here; else gives its name."""
    flag, name = job
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return name
    return os.kill(os.getpid(), signal.SIGKILL)


def die_or_tell(job, show):
    """Ends its process by a signal, or gives a number back."""
    if job < 0:
        os.kill(os.getpid(), -job)
    return job


def unsendable(job, show):
    """A result that no other process can be sent, if the job says so."""
    return threading.Lock() if job else "sent"


def count_beside(job, show):
    """Counts the jobs that run at the same time, this one included."""
    own = Path(job) / f"{os.getpid()}-{threading.get_ident()}"
    own.touch()
    time.sleep(0.1)
    found = len(list(Path(job).iterdir()))
    own.unlink()
    return found


def change_surroundings(job, show):
    """Tells its surroundings and changes them."""
    import torch

    found = (
        str(Path.cwd()), torch.get_num_threads(), torch.initial_seed(), random.random(), float(np.random.rand()),
        os.environ.get("OF_THE_JOB"),
    )  # fmt: skip
    os.chdir("/")
    torch.set_num_threads(3)
    torch.manual_seed(torch.initial_seed() + 1)
    os.environ["OF_THE_JOB"] = "changed"
    return found


def draw(job, show):
    """Numbers without a seed of their own."""
    import torch

    return random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()


def count(job, show):
    """Tells of so many steps."""
    for step in range(job):
        show.update(step + 1, job, f"step {step + 1}")
    return job


def meet(job, show):
    """Waits for the other end of a pipe with a name, which only a job that runs at the same time can open."""
    path, mode = job
    signal.alarm(PATIENCE_S)
    with Path(path).open(mode) as pipe:
        if mode == "w":
            pipe.write("met")
            return "met"
        return pipe.read()


def wait(job, show):
    """Says that it has begun, waits until it is stopped, and cleans up."""
    try:
        Path(job).write_text("begun")
        show.update(1, 2, "waiting")
        threading.Event().wait()
    finally:
        Path(job).write_text("cleaned up")


def search_until_killed(experiment, steps, environ, folder, threads):
    """Searches by the command line, in the caller's folder, and kills its process once so many steps are kept."""
    import torch

    from quantbench.cli import main
    from quantbench.search.journal import FileJournal

    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    torch.set_num_threads(threads)
    append, appended = FileJournal.append, []

    def append_or_die(self, entry):
        append(self, entry)
        appended.append(entry)
        if len(appended) == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    FileJournal.append = append_or_die
    sys.argv = ["quantbench", "search", experiment, "--epsilon", "0"]
    main()


def page_faults(keep):
    """Counts those of ten blocks of 64 MiB, above the size up to which glibc keeps freed blocks by itself."""
    import resource

    import torch

    from quantbench.measure.allocator import keep_freed_memory

    if keep:
        assert keep_freed_memory()
    # The heap grows for some rounds before it settles.
    for _ in range(12):
        torch.ones(16 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
