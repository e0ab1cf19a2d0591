"""What `tenantry local env` prints: everything that Tenantry, plain ``pulumi``, ``aws``/boto3 and ``psql`` need."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from localcloud.home import REPOSITORY, Home
from localcloud.postgres import connection_url
from localcloud.postgres.binaries import bin_directory
from localcloud.postgres.tls import write_file

CONTROL_PLANE_USER = "tenantry"
CONTROL_PLANE_DATABASE = "tenantry"
REGION = "us-east-1"
#: In a user's shell these could lead boto3 or pulumi past the local cloud, to a real account.
UNSET = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN"),
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "PULUMI_ACCESS_TOKEN"),
    *("PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", "PGHOSTADDR", "PGOPTIONS"),
)
_SERVICE_ENDPOINT = re.compile(r"AWS_ENDPOINT_URL_[A-Z0-9_]+")


@dataclass(frozen=True)
class Credentials:
    """Random for every life of the local cloud."""

    life: str
    control_plane_password: str
    passphrase: str
    aws_access_key_id: str
    aws_secret_access_key: str
    stripe_api_key: str
    stripe_webhook_secret: str
    operator_token: str
    application_token: str
    smtp_password: str

    @classmethod
    def generate(cls) -> Credentials:
        return cls(
            life=secrets.token_hex(16),
            control_plane_password=secrets.token_hex(24),
            passphrase=secrets.token_urlsafe(32),
            aws_access_key_id="AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)),
            aws_secret_access_key=secrets.token_urlsafe(30),
            stripe_api_key="sk_test_" + secrets.token_hex(24),
            stripe_webhook_secret="whsec_" + secrets.token_hex(24),
            operator_token="op_" + secrets.token_hex(24),
            application_token="app_" + secrets.token_hex(24),
            smtp_password=secrets.token_urlsafe(24),
        )


def compose(home: Home, credentials: Credentials, ports: Mapping[str, int]) -> dict[str, str]:
    """The environment of this life, ``PATH`` and the engine's own settings aside. It holds secrets.

    ``ports``: ``control-plane``, ``moto``, ``aws``, ``tenantry-postgres``, ``stripe``, ``smtp``, ``mail``, ``api``.
    """
    login = (CONTROL_PLANE_USER, credentials.control_plane_password, CONTROL_PLANE_DATABASE)
    bundle = str(home.authority.bundle)
    url = connection_url(home.authority, ports["control-plane"], *login)
    return {
        "TENANTRY_HOME": str(home.root),
        "TENANTRY_DATABASE_URL": url,
        "TENANTRY_DATABASE_CA": bundle,
        "TENANTRY_INSTALLATION": "local",
        "TENANTRY_ENVIRONMENT": "development",
        "TENANTRY_CATALOGUE": str(REPOSITORY / "example" / "plans.toml"),
        "TENANTRY_APP_SCHEMA": str(REPOSITORY / "example" / "app_schema"),
        "TENANTRY_STRIPE_API_KEY": credentials.stripe_api_key,
        "TENANTRY_STRIPE_API_BASE": f"http://127.0.0.1:{ports['stripe']}",
        "TENANTRY_STRIPE_WEBHOOK_SECRETS": credentials.stripe_webhook_secret,
        "TENANTRY_OPERATOR_TOKENS": credentials.operator_token,
        "TENANTRY_APPLICATION_TOKENS": credentials.application_token,
        "TENANTRY_APPLICATION_TOKEN": credentials.application_token,  # the SDK's name: an application has one
        "TENANTRY_RETURN_URLS": "http://127.0.0.1:8000,http://localhost:8000",  # where uvicorn puts an application
        "TENANTRY_SMTP_HOST": "127.0.0.1",
        "TENANTRY_SMTP_PORT": str(ports["smtp"]),
        "TENANTRY_SMTP_SECURITY": "starttls",
        "TENANTRY_SMTP_USERNAME": "tenantry",
        "TENANTRY_SMTP_PASSWORD": credentials.smtp_password,
        "TENANTRY_SMTP_CA": bundle,
        "TENANTRY_MAIL_FROM": "Example <billing@example.com>",
        "TENANTRY_LOCAL_MAIL": f"http://127.0.0.1:{ports['mail']}",  # what `tenantry local mail` asks
        "TENANTRY_SECRETS_PROVIDER": "passphrase",
        "TENANTRY_STACK_FILES": str(REPOSITORY),
        "TENANTRY_API_URL": f"http://127.0.0.1:{ports['api']}",
        "PULUMI_BACKEND_URL": url.replace("postgresql://", "postgres://", 1),
        "PULUMI_CONFIG_PASSPHRASE": credentials.passphrase,
        "PULUMI_DEBUG_PROVIDERS": f"aws:{ports['aws']},tenantry-postgres:{ports['tenantry-postgres']}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['moto']}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": credentials.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.aws_secret_access_key,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(ports["control-plane"]),
        "PGUSER": CONTROL_PLANE_USER,
        "PGPASSWORD": credentials.control_plane_password,
        "PGDATABASE": CONTROL_PLANE_DATABASE,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": bundle,
    }


def save(home: Home, environment: Mapping[str, str]) -> None:
    write_file(home.environment, json.dumps(dict(environment), indent=2).encode(), 0o600)


def load(home: Home) -> dict[str, str]:
    """What :func:`save` stored; ``FileNotFoundError`` when the local cloud is down."""
    document: dict[str, str] = json.loads(home.environment.read_text())
    return document


def shell_environment(home: Home, current: Mapping[str, str]) -> dict[str, str]:
    """The life's environment with ``PATH`` and the engine's settings for a shell that has ``current``."""
    environment = {**load(home), **_engine(home, current)}
    parts = environment.get("PATH", current.get("PATH", os.defpath)).split(os.pathsep)
    # This command first; PostgreSQL's programs last: the user's own come before them.
    ordered = dict.fromkeys([str(REPOSITORY / "bin"), *parts, str(bin_directory())])
    environment["PATH"] = os.pathsep.join(part for part in ordered if part)
    return environment


def _engine(home: Home, current: Mapping[str, str]) -> dict[str, str]:
    """Settings of the Pulumi command line, if there is one already: nothing is installed here."""
    from provisioner.engine import paths, shims
    from provisioner.engine.environment import shell_exports
    from provisioner.engine.resolve import Resolver

    engine = Resolver(current).find()
    if engine is None:
        return {}
    pulumi_home = paths.pulumi_home(home.root)
    pulumi_home.mkdir(parents=True, exist_ok=True)
    exports = shell_exports(
        pulumi=engine.pulumi,
        shims_dir=shims.provide(engine, paths.shims_dir(home.root)),
        pulumi_home=pulumi_home,
        path=current.get("PATH", os.defpath),
    )
    # A download could only hide that a provider of the local cloud is not attached.
    return {**exports, "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}


def render(environment: Mapping[str, str], current: Mapping[str, str]) -> str:
    """Lines for ``eval`` in a POSIX shell."""
    cleared = [name for name in current if name in UNSET or _SERVICE_ENDPOINT.fullmatch(name)]
    lines = [f"unset {name}\n" for name in sorted(cleared)]
    return "".join(lines + [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())])


def process_environment(environment: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str]:
    """``current`` as a shell has it after ``eval``."""
    kept = {k: v for k, v in current.items() if k not in UNSET and not _SERVICE_ENDPOINT.fullmatch(k)}
    return {**kept, **environment}
