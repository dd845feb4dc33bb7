"""Signs the manifests of releases with HQ's key."""

from dataclasses import replace

from shared.keys import SigningKey
from shared.releases import Release


def sign_release(release: Release, key: SigningKey) -> Release:
    """Return the release with ``key`` as signer and its signature over ``signed_bytes()``, hex."""
    named = replace(release, signer=key.public_hex, signature="")
    return replace(named, signature=key.sign(named.signed_bytes()).hex())
