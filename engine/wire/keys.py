"""Keys of processes on disk: a folder with one public and one secret file each.

`public/NAME.public` may be copied to every machine; `secret/NAME.secret` stays on the machine whose process it is, can
be read by its owner alone, and is left aside by git. Both hold one key of 40 characters in Z85, the text form of a
CURVE key.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import zmq
from zmq.utils import z85

from engine.errors import UsageError

KEY = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
PRIVATE = 0o600
PRIVATE_FOLDER = 0o700
MOST_BYTES = 64


class KeyUnusable(UsageError):
    """A key is missing, or is not fit to be used; the text says which file and what to do, and never holds a secret."""


class KeyFolder:
    """A folder of keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def public_file(self, name: str) -> Path:
        return self.folder / "public" / f"{name}.public"

    def secret_file(self, name: str) -> Path:
        return self.folder / "secret" / f"{name}.secret"

    # --- reading ----------------------------------------------------------------------------------------------

    def public(self, name: str) -> bytes:
        """Return the public key of a process; raise KeyUnusable."""
        path = self.public_file(name)
        data, _ = _read(path, f"copy it from the machine of {name!r}, or make it there with `pipeline keys init`")
        return _key(data, path)

    def secret(self, name: str) -> bytes:
        """Return the secret key of a process; raise KeyUnusable when others can read it, or it is not the public's."""
        path = self.secret_file(name)
        data, status = _read(path, "make it with `pipeline keys init`")
        if status.st_uid != os.geteuid():
            raise KeyUnusable(f"secret key {path} belongs to user {status.st_uid}; it must belong to who runs {name!r}")
        for where, mode in ((path, status.st_mode), (path.parent, path.parent.stat().st_mode)):
            if mode & 0o077:
                wanted = "700" if where == path.parent else "600"
                raise KeyUnusable(
                    f"{where} is open to others (mode {stat.S_IMODE(mode):04o}), so {name!r} has no secret: "
                    f"make a new key with `pipeline keys init --force`, or `chmod {wanted}` it if nobody has read it"
                )
        secret = _key(data, path)
        if _public_of(secret, path) != self.public(name):
            raise KeyUnusable(f"{path} and {self.public_file(name)} are not a pair; copy the public key that fits")
        return secret

    def allowed(self, names: list[str]) -> dict[bytes, str]:
        """Return the names by public key, as the 32 bytes that go over the wire; raise KeyUnusable for a key of two."""
        found: dict[bytes, str] = {}
        for name in names:
            key = z85.decode(self.public(name))
            if key in found:
                raise KeyUnusable(f"{found[key]!r} and {name!r} have the same public key; each needs its own")
            found[key] = name
        return found

    # --- making -----------------------------------------------------------------------------------------------

    def make(self, name: str, *, force: bool = False) -> bool:
        """Make the pair of a process; return False, and change nothing, where there is one. `force` makes a new one.

        Where only the secret is there, its public key is written beside it.
        """
        public_file, secret_file = self.public_file(name), self.secret_file(name)
        if not force and os.path.lexists(secret_file):
            if os.path.lexists(public_file):
                return False
            data, _ = _read(secret_file, "")
            _write(public_file, _public_of(_key(data, secret_file), secret_file), 0o644)
            return True
        if not force and os.path.lexists(public_file):
            raise KeyUnusable(
                f"{public_file} is there and its secret is not: it is the key of another machine. Name the machine "
                "whose keys you want with --machine, or make a new pair with --force and copy it to all machines"
            )
        for folder, mode in ((public_file.parent, 0o755), (secret_file.parent, PRIVATE_FOLDER)):
            folder.mkdir(parents=True, exist_ok=True)
            if mode == PRIVATE_FOLDER:
                folder.chmod(mode)
        ignore = secret_file.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        public, secret = zmq.curve_keypair()
        _write(secret_file, secret, PRIVATE)
        _write(public_file, public, 0o644)
        return True


def _read(path: Path, fix: str) -> tuple[bytes, os.stat_result]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyUnusable(f"key {path} is not there; {fix}") from None
    except OSError as error:
        raise KeyUnusable(f"key {path} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyUnusable(f"key {path} is not a plain file")
        return os.read(descriptor, MOST_BYTES + 1), status
    finally:
        os.close(descriptor)


def _key(data: bytes, path: Path) -> bytes:
    key = data.removesuffix(b"\n")
    if not KEY.fullmatch(key):
        raise KeyUnusable(f"{path} holds no key: it must be 40 characters in one line")
    return key


def _public_of(secret: bytes, path: Path) -> bytes:
    try:
        return zmq.curve_public(secret)
    except ValueError:
        raise KeyUnusable(f"{path} holds no key") from None


def _write(path: Path, key: bytes, mode: int) -> None:
    """Write a key so that it is there whole or not at all, and never readable to more than `mode` says."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
