"""Whether workers could prove tenants isolated and sign it."""

from __future__ import annotations

from components.spec import Environment
from provisioner.checks import Finding, ok, warn
from provisioner.settings import Settings


def evidence(settings: Settings) -> Finding:
    """The signing key; a laptop's is not made here. Raises what a key that can't be used is: ConfigurationInvalid."""
    from provisioner.proving.key import signing_key

    if not settings.application_tokens:
        return warn(
            "no proof of isolation can run: it acts as an application does",
            "set TENANTRY_APPLICATION_TOKENS for workers as well",
        )
    own = settings.home / "evidence" / "key.pem"
    if settings.evidence_key is None and settings.environment is Environment.DEVELOPMENT and not own.exists():
        return ok("a laptop's own key, made with the first proof")
    return ok(f"signed with {signing_key(settings).public.key_id}")
