"""Whether what is exported to this process is complete and answers: databases, Stripe, AWS, plans, migrations."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from provisioner.checks import CONNECT_S, Check, Finding, fail, ok, skipped, warn
from provisioner.checks.evidence import evidence
from provisioner.checks.mail import mail
from provisioner.errors import ConfigurationInvalid
from provisioner.settings import Settings

Probe = Callable[[], Finding]
EXPORT = 'for the local cloud: `tenantry local up`, then eval "$(tenantry local env)"'
#: Set for a shell by other means than an environment of the service.
_NO_ENVIRONMENT = ("TENANTRY_HOME", "TENANTRY_ENGINE_")
_SHORT_TOKEN = 16


def is_exported(environ: Mapping[str, str]) -> bool:
    """Whether any of the service's variables is set."""
    return any(name.startswith("TENANTRY_") and not name.startswith(_NO_ENVIRONMENT) for name in environ)


def checks(load: Callable[[], Settings], environ: Mapping[str, str]) -> list[Check]:
    """``load`` gives the settings or raises ``ConfigurationInvalid``; without an environment only files are checked."""
    settings, problem = None, skipped("nothing is exported to this shell", EXPORT)
    if is_exported(environ):
        try:
            settings = load()
        except ConfigurationInvalid as error:
            problem = fail(error.message, error.hint)
    probes = {"settings": lambda: problem if settings is None else _settings(settings)}
    probes |= _files(settings)
    probes |= _services(settings, environ) if settings is not None else {}
    return [Check("environment", name, probe) for name, probe in probes.items()]


def _files(settings: Settings | None) -> dict[str, Probe]:
    defaults = Settings.model_fields
    plans = settings.catalogue if settings else Path(defaults["catalogue"].default)
    migrations = settings.app_schema if settings else Path(defaults["app_schema"].default)
    return {"catalogue": lambda: catalogue(plans), "app schema": lambda: app_schema(migrations)}


def _services(settings: Settings, environ: Mapping[str, str]) -> dict[str, Probe]:
    return {
        "database": lambda: database(settings.database_url.get_secret_value()),
        "state backend": lambda: state_backend(settings.pulumi_backend_url(), environ),
        "secrets": lambda: secrets(settings, environ),
        "providers": lambda: providers(environ.get("PULUMI_DEBUG_PROVIDERS", "")),
        "database CA": lambda: database_ca(settings.database_ca),
        "stripe": lambda: stripe(settings),
        "webhook secrets": lambda: webhook_secrets(settings),
        "aws": lambda: aws(settings.region, environ),
        "tokens": lambda: tokens(settings),
        "api": lambda: api(settings.api_url),
        "evidence": lambda: evidence(settings),
        "mail": lambda: mail(settings),
    }


def _settings(settings: Settings) -> Finding:
    return ok(f"installation {settings.installation}, {settings.environment.value}, cell {settings.cell}")


def catalogue(path: Path) -> Finding:
    from provisioner.billing import catalogue as catalogues

    plans = catalogues.load(path).plans
    return ok(f"{path}: {len(plans)} plans ({', '.join(plans)})")


def app_schema(directory: Path) -> Finding:
    from provisioner.stack_request import migrations

    found = migrations(directory)
    return ok(f"{directory}: version {found.version}") if found.version else warn(f"{directory} has no migrations")


def database(url: str) -> Finding:
    """The control plane's PostgreSQL: reachable, new enough, with its schema."""
    import psycopg

    from provisioner.registry.migrate import MINIMUM_SERVER

    try:
        with psycopg.connect(url, connect_timeout=CONNECT_S, application_name="tenantry/doctor") as connection:
            version = connection.info.server_version
            where = f"{connection.info.host}:{connection.info.port}/{connection.info.dbname}"
            row = connection.execute("SELECT to_regclass('registry.tenant') IS NOT NULL").fetchone()
    except psycopg.ProgrammingError:
        # Its message would repeat the text, password and all.
        return fail("TENANTRY_DATABASE_URL is no libpq URL", "set it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    except psycopg.OperationalError as error:
        return fail(_first_line(error), "check TENANTRY_DATABASE_URL, and that the server runs")
    shown = f"PostgreSQL {version // 10000}.{version % 10000} at {where}"
    if version < MINIMUM_SERVER:
        return fail(shown, f"use PostgreSQL {MINIMUM_SERVER // 10000} or newer")
    if row is None or not row[0]:
        return warn(f"{shown}, without the registry's schema", "`tenantry serve` and `tenantry worker` create it")
    return ok(f"{shown}, with the registry")


def state_backend(url: str, environ: Mapping[str, str]) -> Finding:
    """Pulumi's state: PostgreSQL, and in the registry's database, which fences dead engines off."""
    import psycopg
    from psycopg import sql

    from provisioner.engine.state import BackendUrl

    backend = BackendUrl.parse(url)
    try:
        with psycopg.connect(
            backend.conninfo, connect_timeout=CONNECT_S, application_name="tenantry/doctor"
        ) as connection:
            registry, state = (
                connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone() == (True,)
                for name in ("registry.lease", sql.Identifier(backend.table).as_string(connection))
            )
    except psycopg.ProgrammingError:
        return fail(
            "PULUMI_BACKEND_URL is no URL of PostgreSQL", "set it as postgres://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    except psycopg.OperationalError as error:
        return fail(_first_line(error), "check PULUMI_BACKEND_URL, and that the server runs")
    if state and not registry:
        return fail(
            "Pulumi's state is in another database than the registry",
            "let PULUMI_BACKEND_URL name the database of TENANTRY_DATABASE_URL",
        )
    where = "beside the registry" if registry else "reachable; its table is made at the first start"
    if not environ.get("PULUMI_BACKEND_URL"):
        return warn(where, "export PULUMI_BACKEND_URL too: plain `pulumi` commands look elsewhere without it")
    return ok(where)


def secrets(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """What encrypts the secrets in Pulumi's state."""
    provider = settings.secrets_provider
    if provider not in (None, "", "passphrase"):
        scheme = str(provider).partition("://")[0]
        return ok(f"encrypted by a key of {scheme}")
    file = environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if file and not Path(file).is_file():
        return fail(f"PULUMI_CONFIG_PASSPHRASE_FILE names {file}, which is no file", "correct it")
    if not file and not environ.get("PULUMI_CONFIG_PASSPHRASE"):
        return fail(
            "nothing encrypts the secrets in Pulumi's state",
            "set TENANTRY_SECRETS_PROVIDER=awskms://..., or PULUMI_CONFIG_PASSPHRASE for a laptop",
        )
    if settings.environment.value == "production":
        return warn("encrypted by a passphrase", "set TENANTRY_SECRETS_PROVIDER=awskms://... in production")
    return ok("encrypted by a passphrase")


def providers(attached: str) -> Finding:
    """Providers that engines attach to instead of starting their own."""
    if not attached:
        return ok("none is attached: the engine downloads and starts its own")
    dead = []
    for entry in attached.split(","):
        name, _, port = entry.partition(":")
        if not port.isdigit() or not _listens("127.0.0.1", int(port)):
            dead.append(name)
    if dead:
        return fail(
            f"PULUMI_DEBUG_PROVIDERS attaches {', '.join(dead)}, which does not answer",
            'the local cloud was restarted, or is down: `tenantry local up`, then eval "$(tenantry local env)"',
        )
    return ok(f"attached: {attached}")


def database_ca(bundle: Path | None) -> Finding:
    if bundle is None:
        return warn(
            "the system's certificates verify the tenants' databases",
            "set TENANTRY_DATABASE_CA; for RDS to the bundle of the region, whose authority no system knows",
        )
    try:
        text = bundle.read_text()
    except (OSError, UnicodeDecodeError):
        text = ""
    if "BEGIN CERTIFICATE" not in text:
        return fail(f"{bundle} is no readable bundle of certificates", "correct TENANTRY_DATABASE_CA")
    return ok(str(bundle))


def stripe(settings: Settings) -> Finding:
    """The key works, and Stripe sells every price of the catalogue."""
    from provisioner.billing import catalogue as catalogues
    from provisioner.billing.account_check import missing_prices
    from provisioner.billing.gateway_stripe import StripeGateway

    key = settings.stripe_api_key.get_secret_value()
    if not key:
        return fail("TENANTRY_STRIPE_API_KEY is not set", "set a secret key, or a restricted one that may read")

    async def ask() -> tuple[bool, list[tuple[str, str, str]]]:
        gateway = StripeGateway(key, settings.stripe_api_base, timeout_s=CONNECT_S, max_retries=0)
        try:
            return gateway.livemode, await missing_prices(gateway, catalogues.load(settings.catalogue))
        finally:
            await gateway.close()

    live, missing = asyncio.run(ask())
    mode = "live mode" if live else "test mode"
    shown = f"{mode} at {settings.stripe_api_base}" if settings.stripe_api_base else mode
    if missing:
        problems = "; ".join(f"{key}: {message}" for key, message, _ in missing[:3])
        return warn(f"{shown}, but not all plans can be sold: {problems}", missing[0][2])
    production = settings.environment.value == "production"
    if live != production:
        return warn(
            f"{shown} in a {settings.environment.value} installation",
            "check TENANTRY_STRIPE_API_KEY and the environment",
        )
    return ok(f"{shown}, with every price of the catalogue")


def webhook_secrets(settings: Settings) -> Finding:
    count = len(settings.webhook_secrets())
    return ok("one" if count == 1 else f"{count}: a rotation is under way")


def aws(region: str, environ: Mapping[str, str]) -> Finding:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=CONNECT_S, read_timeout=CONNECT_S, retries={"total_max_attempts": 1})
    fix = "give the process credentials of AWS (a role, AWS_PROFILE, ...)"
    try:
        identity = boto3.session.Session().client("sts", region_name=region, config=config).get_caller_identity()
    except ClientError as error:
        return fail(f"AWS refuses the credentials: {error.response['Error'].get('Code', 'unknown')}", fix)
    except BotoCoreError as error:
        return fail(f"AWS can't be asked who we are: {error}", fix)
    where = f", at {environ['AWS_ENDPOINT_URL']}" if environ.get("AWS_ENDPOINT_URL") else ""
    shown = f"{identity['Arn']} in {region}{where}"
    if not (environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")):
        return warn(f"{shown}, a region by default", "set AWS_REGION")
    return ok(shown)


def tokens(settings: Settings) -> Finding:
    groups = {
        "TENANTRY_OPERATOR_TOKENS": settings.operator_tokens,
        "TENANTRY_APPLICATION_TOKENS": settings.application_tokens,
    }
    fix = "set long random tokens; two, comma-separated, to rotate"
    if missing := [name for name, values in groups.items() if not values]:
        return fail(f"{' and '.join(missing)} not set", fix)
    if any(len(value.get_secret_value()) < _SHORT_TOKEN for values in groups.values() for value in values):
        return warn(f"a token has less than {_SHORT_TOKEN} characters", fix)
    return ok(", ".join(f"{len(values)} in {name}" for name, values in groups.items()))


def api(url: str) -> Finding:
    """Either `tenantry serve` answers there, or it could listen there."""
    address = urlsplit(url)
    try:
        host, port = address.hostname, address.port or (443 if address.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if host is None or address.scheme not in ("http", "https"):
        return fail("TENANTRY_API_URL is no URL", "for example http://127.0.0.1:8080")
    if _listens(host, port):
        if _is_healthy(host, port, secure=address.scheme == "https"):
            return ok(f"`tenantry serve` answers at {host}:{port}")
        return warn(f"something else than `tenantry serve` answers at {host}:{port}", "set TENANTRY_API_URL")
    try:
        with socket.create_server((host, port)):
            return ok(f"{host}:{port} is free for `tenantry serve`")
    except OSError as error:
        reason = "is no address of this machine, and nothing answers there"
        if error.errno != errno.EADDRNOTAVAIL:
            reason = f"can't be listened at: {error.strerror or error}"
        return warn(f"{host}:{port} {reason}", "set TENANTRY_API_URL")


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return True
    except OSError:
        return False


def _is_healthy(host: str, port: int, *, secure: bool) -> bool:
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port, timeout=CONNECT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status in (200, 204, 503)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
