"""A cache by content: one folder for each result, named by a hash of everything that decides it.

Files are written beside the folder's place, `meta.json` with their sha256 and its own last, and the folder is renamed
into it under a lock. A crash leaves nothing half-written under the name of a whole result, and parallel first use makes
it once.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from quantbench.errors import CacheError
from quantbench.files import cache_dir, is_inside, printable, sha256_of_file, sha256_of_json, write_json
from quantbench.provenance import changed_code, loaded_code
from quantbench.strict_json import read_json_value
from quantbench.temporary import sweep, temporary_name, temporary_prefix

# Facts about a result that its files do not hold, as JSON has them.
Meta = dict[str, Any]
META = "meta.json"
HASHES = "sha256"
# Of all else in the description, which its readers go by as they do by the files.
OWN_HASH = "sha256_of_this"
CODE = "code"
WITHDRAWN = "withdrawn"
# Of a disk that is full, read-only or broken; numpy raises them without the name of the file, or in words of its own.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


class CacheEntry:
    """The place of one result. Constructing one touches no file.

    Under `locked`, `read` gives what is kept; where that is None, the result is computed and `write` keeps it. Another
    process that asks meanwhile waits, and then reads it.

    Args:
        kind: of result, and the name of its folder in the cache.
        name: ends with a hash of everything that decides the result.
        again: what is done about damage, for the notice.
        by_users_code: whether modules of the user's have a part in the result. Those that are loaded once it is made
            are noted with it, and where one of them has changed, nothing counts as kept.

    Attributes:
        folder: where the files lie; it exists only when they are whole.
    """

    def __init__(self, kind: str, name: str, again: str = "making it again", by_users_code: bool = False) -> None:
        self.folder = cache_dir() / kind / name
        self.again = again
        self.by_users_code = by_users_code
        self._unlocked: OSError | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other process and thread from this result; reading and writing ask for it.

        Where the cache cannot be written to, what is kept can still be read, since it was moved there whole.
        """
        lock = FileLock(self.folder.with_name(f"{self.folder.name}.lock"))
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            self._unlocked = error
        try:
            yield
        finally:
            self._unlocked = None
            lock.release()

    def read(self, check: Callable[[Meta], object] = lambda _: None) -> Meta | None:
        """Reads what was kept, or gives None where nothing was.

        It also gives None, with a notice on stderr, where what was kept is damaged or made by other code.

        Args:
            check: raises a KeyError, TypeError or ValueError where `meta.json` lacks what its reader needs.
        """
        damage = None
        try:
            meta = self._description()
            hashes = dict(meta[HASHES])
            check(meta)
            changed = changed_code(meta[CODE]) if self.by_users_code else []
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if not self.folder.exists():
                return None
            damage = f"unreadable {META} ({type(error).__name__}: {printable(error)})"
        else:
            damage = next(
                (f"{printable(file)} is cut short or changed" for file in hashes if not self._is_whole(file, hashes)),
                None,
            )
            damage = f"was made by other code ({', '.join(changed)})" if changed else meta.get(WITHDRAWN, damage)
        if damage is None:
            return meta
        print(f"{self.folder}: {damage}; {self.again}", file=sys.stderr)
        return None

    def _description(self) -> Meta:
        """The description as it was written.

        Raises:
            OSError: if it cannot be read.
            ValueError: if it is no JSON, or not what was written.
            KeyError: if it holds no hashes.
        """
        meta: Meta = read_json_value(self.folder / META)
        _ = meta[HASHES]
        stated = meta.pop(OWN_HASH, None)
        if stated != sha256_of_json(meta):
            raise ValueError("is not as it was written" if stated else "has no hash of itself")
        return meta

    def _describe(self, folder: Path, meta: Meta) -> None:
        write_json(folder / META, {**meta, OWN_HASH: sha256_of_json(meta)})

    def _is_whole(self, file: str, hashes: dict[str, str]) -> bool:
        try:
            return is_inside(file) and sha256_of_file(self.folder / file) == hashes[file]
        except OSError:
            return False

    def write(self, fill: Callable[[Path], Meta]) -> Meta:
        """Keeps a result in the place of whatever was there.

        Args:
            fill: writes its files into the folder that it is given and returns the facts for `meta.json`.

        Returns:
            These facts, with the files' hashes.

        Raises:
            CacheError: if the files cannot be written.
        """
        if self._unlocked is not None:
            raise self._unwritable(self._unlocked)
        sweep(self.folder.parent)
        # The caller holds the lock, so that whatever of this result lies beside was left by a process that was killed.
        for abandoned in self.folder.parent.iterdir():
            if abandoned.name.startswith((temporary_prefix(self.folder.name), f".{self.folder.name}.")):
                shutil.rmtree(abandoned, ignore_errors=True)
        temporary, began = self.folder.with_name(temporary_name(self.folder.name)), time.time()
        if self.by_users_code:
            # Now, so that an edit from here on is not taken for the code that ran.
            loaded_code()
        try:
            temporary.mkdir()
            facts = fill(temporary)
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            hashes = {path.relative_to(temporary).as_posix(): sha256_of_file(path) for path in files}
            meta = {**facts, HASHES: hashes, **({CODE: loaded_code(began)} if self.by_users_code else {})}
            # As it is read: a tuple as a list, a number in a key as text.
            meta = dict(json.loads(json.dumps(meta, allow_nan=False)))
            self._describe(temporary, meta)
            self.forget()
            temporary.rename(self.folder)
        except OSError as error:
            if not self._is_of_the_disk(error):
                raise
            raise self._unwritable(error) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return meta

    def _unwritable(self, error: OSError) -> CacheError:
        return CacheError(
            f"{self.folder}: cannot be written ({error.strerror or error}); free some space, or name another folder "
            "with QUANTBENCH_CACHE"
        )

    def _is_of_the_disk(self, error: OSError) -> bool:
        """Tells an error of writing here from one of the code that fills the folder, which may read elsewhere."""
        named = error.filename is not None and Path(error.filename).is_relative_to(self.folder.parent)
        return named or error.errno in DISK_ERRORS or (error.errno is None and bool(SHORT_WRITE.match(str(error))))

    def withdraw(self, why: str) -> None:
        """Lets nothing count as kept from now on; the files stay for whoever has them open."""
        with self.locked():
            try:
                meta = self._description()
            # Nothing counts as kept where the description cannot be read.
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return
            self._describe(self.folder, {**meta, WITHDRAWN: why})

    def forget(self) -> None:
        """Removes what was kept, at once: a process that is killed meanwhile leaves no part of it under its name."""
        aside = self.folder.with_name(temporary_name(self.folder.name))
        with suppress(OSError):
            self.folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        # A file in the place of the folder, or one that cannot be moved.
        shutil.rmtree(self.folder, ignore_errors=True)
