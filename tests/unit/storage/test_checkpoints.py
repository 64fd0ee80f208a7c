"""Checkpoints: files that are never overwritten, and signed where a key is given."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from include.errors import ConfigError, IntegrityError
from include.storage import checkpoints
from include.storage.chain import Head
from include.storage.checkpoints import SigningKeys
from include.tenants.namespace import TenantRef

NOW = datetime(2017, 1, 1, tzinfo=UTC)
HEADS = {"acme": (TenantRef("acme", "eu", "silo"), Head(3, "ab" * 32))}


def keys() -> SigningKeys:
    """A fresh key."""
    private = Ed25519PrivateKey.generate()
    return SigningKeys(private.public_key(), private)


def test_a_checkpoint_comes_back_as_written(tmp_path: Path) -> None:
    """Numbered from 1, readable by its owner only, with heads and where each chain lives."""
    for number in (1, 2):
        written = checkpoints.write(HEADS, NOW, tmp_path / "audit", None)
        assert written.number == number
    files = checkpoints.files(tmp_path / "audit")
    assert [checkpoints.read(path) for path in files][-1] == written
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert [path.name for path in (tmp_path / "audit").iterdir()] == [path.name for path in files]


def test_checkpoints_written_at_once_get_a_number_each(tmp_path: Path) -> None:
    """None is overwritten, and no number is left out."""
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(checkpoints.write, HEADS, NOW, tmp_path, None) for _ in range(24)]
        assert sorted(one.result().number for one in done) == list(range(1, 25))
    assert [int(path.stem) for path in checkpoints.files(tmp_path)] == list(range(1, 25))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"length": 3', '"length": 2'), ('"number": 1', '"number": 2'), ("ab", "cd"), ("eu", "us")],
)
def test_a_signature_is_over_everything(tmp_path: Path, old: str, new: str) -> None:
    """A checkpoint of which anything was changed is not the key's; nor is one of another key."""
    key = keys()
    checkpoints.write(HEADS, NOW, tmp_path, key)
    (path,) = checkpoints.files(tmp_path)
    assert key.signed(checkpoints.read(path))
    assert not keys().signed(checkpoints.read(path))
    changed = path.read_text().replace(old, new, 1)
    assert changed != path.read_text()
    other = tmp_path / ("00000002.json" if "number" in old else "00000001.json")
    other.write_text(changed)
    assert not key.signed(checkpoints.read(other))


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"number": "x"}', '{"heads": {"../x": {}}}', b"\xff".decode("latin-1")],
)
def test_what_is_no_checkpoint_is_said(tmp_path: Path, content: str) -> None:
    """Never a traceback of whatever parsed it."""
    path = tmp_path / "00000001.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(IntegrityError, match="is no checkpoint any more"):
        checkpoints.read(path)


def test_a_checkpoint_under_another_number_is_refused(tmp_path: Path) -> None:
    """Copying an old one over a new one does not bring back the past."""
    checkpoints.write(HEADS, NOW, tmp_path, None)
    (path,) = checkpoints.files(tmp_path)
    (tmp_path / "00000002.json").write_bytes(path.read_bytes())
    with pytest.raises(IntegrityError, match="another name"):
        checkpoints.read(tmp_path / "00000002.json")


def test_the_key_is_a_file_with_the_private_or_the_public_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The public part verifies, and says that it cannot sign."""
    pair = keys()
    assert pair.private is not None
    private = pair.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = pair.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for name, content in (("key", private), ("public", public)):
        (tmp_path / name).write_bytes(content)
    monkeypatch.delenv("TENANTRY_AUDIT_KEY", raising=False)
    assert checkpoints.keys() is None
    monkeypatch.setenv("TENANTRY_AUDIT_KEY", str(tmp_path / "key"))
    signing = checkpoints.keys()
    assert signing is not None
    written = checkpoints.write(HEADS, NOW, tmp_path / "audit", signing)
    monkeypatch.setenv("TENANTRY_AUDIT_KEY", str(tmp_path / "public"))
    verifying = checkpoints.keys()
    assert verifying is not None
    assert verifying.signed(written)
    with pytest.raises(ConfigError, match="a public key"):
        checkpoints.write(HEADS, NOW, tmp_path / "audit", verifying)


def test_a_file_that_is_no_such_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, empty, garbage, or a key of another kind: the message says how to make one."""
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for content in (None, b"", b"-----BEGIN PUBLIC KEY-----", other, json.dumps({}).encode()):
        path = tmp_path / "key"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("TENANTRY_AUDIT_KEY", str(path))
        with pytest.raises(ConfigError, match=r"^TENANTRY_AUDIT_KEY names .*openssl genpkey"):
            checkpoints.keys()
