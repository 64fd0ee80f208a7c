"""Checkpoints: how far every audit chain had come at some moment, kept outside Postgres.

One file each, numbered without gaps, never overwritten. Where `TENANTRY_AUDIT_KEY` names an Ed25519
key they are signed: then nobody without that key can write one that holds.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from include.errors import ConfigError, IntegrityError
from include.storage.chain import Head, canonical
from include.storage.lake_files import LakeFiles
from include.tenants.namespace import GLOBAL, TenantRef, lake_prefix
from include.wall_clock import PLATFORM, local

#: A folder; that of the platform in the lake where it is not set.
FOLDER_VARIABLE: Final = "TENANTRY_AUDIT"
KEY_VARIABLE: Final = "TENANTRY_AUDIT_KEY"
_NAME: Final = re.compile(r"[0-9]{8}\.json")


@dataclass(frozen=True)
class Checkpoint:
    """The heads of all chains that could be reached."""

    number: int
    at: datetime
    heads: Mapping[str, tuple[TenantRef, Head]]  #: by owner
    signature: str = ""  #: hex; empty where no key was given

    @property
    def name(self) -> str:
        """What findings call it."""
        return f"checkpoint {self.number} of {local(self.at, PLATFORM)}"

    @property
    def content(self) -> dict[str, Any]:
        """What is signed."""
        heads = {
            owner: {
                "region": ref.region,
                "isolation": ref.isolation,
                "length": head.length,
                "digest": head.digest,
            }
            for owner, (ref, head) in self.heads.items()
        }
        return {"number": self.number, "at": self.at.astimezone(UTC).isoformat(), "heads": heads}


@dataclass(frozen=True)
class SigningKeys:
    """What signs and what tells whether a signature is good."""

    public: Ed25519PublicKey
    private: Ed25519PrivateKey | None  #: None where only the public key was given

    def sign(self, content: Mapping[str, Any]) -> str:
        """Raises: ConfigError where only the public key is known."""
        if self.private is None:
            raise ConfigError(
                f"{KEY_VARIABLE} names a public key, which can verify checkpoints and not sign "
                "one; name the private key, or leave the variable empty for one without signature"
            )
        return self.private.sign(canonical(content).encode()).hex()

    def signed(self, checkpoint: Checkpoint) -> bool:
        """Whether the key's owner wrote it."""
        try:
            signature = bytes.fromhex(checkpoint.signature)
            self.public.verify(signature, canonical(checkpoint.content).encode())
        except (ValueError, InvalidSignature):
            return False
        return True


def folder(files: LakeFiles) -> Path:
    """Where the checkpoints lie: in the folder that the environment names, or in the lake."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    return files.root / lake_prefix(GLOBAL) / "audit"


def keys() -> SigningKeys | None:
    """The key of this environment, if one is named.

    Raises:
        ConfigError: what is named is no Ed25519 key without a password.
    """
    named = os.environ.get(KEY_VARIABLE)
    if not named:
        return None
    try:
        content = Path(named).read_bytes()
        if b"PUBLIC KEY" in content:
            public = load_pem_public_key(content)
            if isinstance(public, Ed25519PublicKey):
                return SigningKeys(public, None)
        else:
            private = load_pem_private_key(content, None)
            if isinstance(private, Ed25519PrivateKey):
                return SigningKeys(private.public_key(), private)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{KEY_VARIABLE} names {named}: {_why(error)}. {_MAKE}") from None
    raise ConfigError(f"{KEY_VARIABLE} names {named}: it is a key of another kind. {_MAKE}")


_MAKE: Final = "`openssl genpkey -algorithm ed25519 -out audit.pem` makes one that serves"


def write(
    heads: Mapping[str, tuple[TenantRef, Head]], at: datetime, where: Path, key: SigningKeys | None
) -> Checkpoint:
    """Add a checkpoint; two that are written at once get a number each."""
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        number = 1 + max((int(path.stem) for path in files(where)), default=0)
        new = Checkpoint(number, at, dict(heads))
        content = new.content
        signature = "" if key is None else key.sign(content)
        text = json.dumps({**content, "signature": signature}, indent=1)
        if _added(where, f"{number:08d}.json", text):
            return Checkpoint(number, at, dict(heads), signature)


def files(where: Path) -> list[Path]:
    """The files of all checkpoints, oldest first."""
    return sorted(path for path in where.glob("*.json") if _NAME.fullmatch(path.name))


def read(path: Path) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        IntegrityError: it is none.
    """
    try:
        told = json.loads(path.read_bytes())
        heads = {
            owner: (
                TenantRef(owner, one["region"], one["isolation"]),
                Head(int(one["length"]), str(one["digest"])),
            )
            for owner, one in told["heads"].items()
        }
        at = datetime.fromisoformat(told["at"])
        found = Checkpoint(int(told["number"]), at, heads, str(told["signature"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise IntegrityError(f"{path} is no checkpoint any more ({_why(error)})") from None
    if path.stem != f"{found.number:08d}":
        raise IntegrityError(f"{path} holds checkpoint {found.number}, which has another name")
    return found


def _added(where: Path, name: str, text: str) -> bool:
    """Whether the file is there now with this text; not where another has the name already."""
    with tempfile.NamedTemporaryFile("w", dir=where, prefix="tmp") as part:  # 0600
        part.write(text)
        part.flush()
        os.fsync(part.fileno())
        try:
            os.link(part.name, where / name)
        except FileExistsError:
            return False
    return True


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
