"""The service's configuration: the only reader of its environment (prefix ``TENANTRY_``)."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from components.spec import CellName, Environment
from provisioner.errors import ConfigurationInvalid

ROOT = Path(__file__).resolve().parent.parent

#: Comma-separated in the environment.
SecretList = Annotated[tuple[SecretStr, ...], NoDecode]


def default_home() -> Path:
    """Data of this clone: two clones on one machine never share it."""
    clone = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    if os.geteuid() == 0:
        return Path("/var/lib/tenantry") / clone
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "tenantry" / clone


class Settings(BaseSettings):
    """Secrets are ``SecretStr``: printing the settings shows none."""

    model_config = SettingsConfigDict(env_prefix="TENANTRY_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(description="control plane PostgreSQL, libpq URL")
    installation: str = Field(
        "tenantry", pattern=r"^[a-z][a-z0-9-]{0,19}$", description="tells several installations of one account apart"
    )
    environment: Environment = Field(
        Environment.PRODUCTION,
        description="production, staging or development; decides deletion protection and backups",
    )
    cell: CellName = Field("default", description="cell that new tenants are placed in")
    region: str = Field(
        "us-east-1",
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"),
        description="AWS region of the default cell",
    )
    catalogue: Path = Field(ROOT / "example" / "plans.toml", description="the plans: plans.toml")
    app_schema: Path = Field(
        ROOT / "example" / "app_schema", description="directory of the application's SQL migrations"
    )
    stripe_api_key: SecretStr = Field(SecretStr(""), description="secret or restricted key of Stripe; its mode is ours")
    stripe_api_base: str | None = Field(None, description="another Stripe than api.stripe.com: the local one")
    stripe_webhook_secrets: SecretList = Field(
        (),
        description="signing secrets of the webhook endpoint, comma-separated: two while one is rotated; at least one",
    )
    webhook_tolerance_s: int = Field(300, ge=1, description="age of a webhook's signature that is still taken, seconds")
    webhook_max_bytes: int = Field(512 * 1024, ge=1024, description="longest webhook body that is read, bytes")
    operator_tokens: SecretList = Field(
        (), description="bearer tokens of the operator API, comma-separated; at least one"
    )
    application_tokens: SecretList = Field(
        (), description="bearer tokens of the broker, for applications, comma-separated"
    )
    return_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="origins of the application, comma-separated: where Stripe's checkout and portal send customers "
        "back to, for example `https://app.example.com`",
    )
    broker_principal_arns: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated ARNs that may assume tenant roles; empty: roles of this account by policy"
    )
    api_url: str = Field("http://127.0.0.1:8080", description="where `tenantry serve` listens")
    database_ca: Path | None = Field(None, description="CA bundle of the tenants' databases")
    secrets_provider: str | None = Field(None, description="Pulumi secrets provider of new stacks: awskms://...")
    stack_files: Path | None = Field(
        None, description="where workers keep Pulumi.<stack>.yaml; the checkout itself lets plain pulumi work in it"
    )
    home: Path = Field(
        default_factory=default_home, description="data of this machine: PULUMI_HOME, and the local cloud's life"
    )
    backend_url: SecretStr = Field(
        SecretStr(""),
        validation_alias="PULUMI_BACKEND_URL",
        description="where Pulumi's state is: the control plane's database, under postgres://; that is the default",
    )
    sweep_interval_s: int = Field(60, ge=1, description="seconds between two sweeps over all tenants")
    evidence_key: str | None = Field(
        None,
        description="Ed25519 key that signs evidence: a PEM file, or the ARN of a Secrets Manager secret that holds "
        "one; a laptop (development) makes its own",
    )
    evidence_days: int = Field(
        400, ge=1, description="days that evidence is kept: a year's audit looks back; passed fast proofs 30 at most"
    )
    proof_time: str = Field(
        "02:30", pattern=r"^(([01]\d|2[0-3]):[0-5]\d|never)$", description="when every tenant is proved nightly, UTC"
    )
    export_store: str | None = Field(
        None,
        description="where final exports and archives are kept, encrypted: s3://BUCKET/PREFIX or a directory; a laptop "
        "(development) keeps them under its home",
    )
    archive_key: str | None = Field(
        None,
        description="symmetric KMS key, ARN or alias, that wraps the data keys of exports and archives; a laptop "
        "(development) makes its own",
    )
    export_days: int = Field(
        30, ge=0, description="days that the final export of a deleted tenant waits to be fetched; 0: none is kept"
    )
    policy_config: Path | None = Field(
        None, description="policy configuration file: levels, parameters and exemptions of rules (docs/policies.md)"
    )
    smtp_host: str = Field("", description="mail server that messages to customers are handed to; empty: none are sent")
    smtp_port: int = Field(587, ge=1, le=65535, description="its port")
    smtp_security: str = Field(
        "starttls",
        pattern=r"^(starttls|tls|none)$",
        description="starttls, tls (from the first byte, usually port 465), or none; certificates are always verified",
    )
    smtp_username: str = Field("", description="login of the mail server; empty: without one")
    smtp_password: SecretStr = Field(SecretStr(""), description="its password")
    smtp_ca: Path | None = Field(None, description="PEM file of certificates that are trusted too")
    smtp_timeout_s: float = Field(20, gt=0, le=60, description="seconds that each of its answers is waited for")
    smtp_per_minute: int = Field(0, ge=0, description="most messages handed to it in any minute; 0: no limit")
    mail_from: str = Field("", description='whom messages are from: "Acme Billing <billing@acme.example>"')
    mail_reply_to: str = Field("", description="where answers go, if not there")
    mail_templates: Path | None = Field(
        None, description="directory of templates that replace ours (docs/notifications.md)"
    )
    notifications: Path = Field(
        ROOT / "example" / "notifications.toml", description="which messages are sent, and when: notifications.toml"
    )
    shutdown_grace_s: float = Field(20, ge=0, description="seconds a running operation gets to finish on SIGTERM")

    @field_validator(
        "stripe_webhook_secrets",
        "operator_tokens",
        "application_tokens",
        "return_urls",
        "broker_principal_arns",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    def webhook_secrets(self) -> list[str]:
        """At least one; an empty list would accept nothing, an empty secret everything."""
        secrets = [secret.get_secret_value() for secret in self.stripe_webhook_secrets]
        if not secrets:
            raise ConfigurationInvalid(
                "TENANTRY_STRIPE_WEBHOOK_SECRETS is empty",
                hint="set the webhook endpoint's signing secret (whsec_...); two, comma-separated, to rotate",
            )
        return secrets

    def pulumi_backend_url(self) -> str:
        """Where Pulumi's state is; by default beside the registry."""
        return self.backend_url.get_secret_value() or self.database_url.get_secret_value()


def load() -> Settings:
    """Settings from the environment. Raises ConfigurationInvalid naming the variables, never their values."""
    try:
        return Settings()
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            name = str(problem["loc"][0])
            name = name if name.isupper() else f"TENANTRY_{name.upper()}"
            problems.append(f"{name}: {problem['msg']}")
        raise ConfigurationInvalid(
            "the environment is incomplete: " + "; ".join(problems),
            hint='for the local cloud: `tenantry local up`, then eval "$(tenantry local env)"',
        ) from None


def policy_config(environment: Mapping[str, str]) -> Path | None:
    """TENANTRY_POLICY_CONFIG alone, for what needs no service: judging a file in CI."""
    found = environment.get("TENANTRY_POLICY_CONFIG")
    return Path(found) if found else None


def version() -> str:
    """Of this checkout."""
    project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["version"]


def as_markdown() -> str:
    """The content of ``docs/configuration.md``."""
    lines = [
        "# Configuration",
        "",
        "Generated from `provisioner/settings.py` by `python -m provisioner.settings`; a test compares.",
        "",
        "The service reads its environment and nothing else; `tenantry doctor` checks it. Pulumi, boto3 and libpq keep",
        "their own variables: `PULUMI_CONFIG_PASSPHRASE`, `AWS_...`, `PG...`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = alias.choices[0] if isinstance(alias, AliasChoices) else alias or f"TENANTRY_{name.upper()}"
        lines.append(f"| `{variable}` | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "`~/.local/share/tenantry/...`, as root `/var/lib/tenantry/...`"
    value = field.default
    if isinstance(value, Path):
        return f"`{value.relative_to(ROOT)}`"
    if value is None or value == () or (isinstance(value, SecretStr) and not value.get_secret_value()):
        return ""
    return f"`{value}`"


if __name__ == "__main__":
    (ROOT / "docs" / "configuration.md").write_text(as_markdown())
