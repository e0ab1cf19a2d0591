"""Composition root: settings in, the service's processes out. Nothing connects before it is opened."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import yaml
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from provisioner import stack_request
from provisioner.billing import catalogue as catalogues
from provisioner.billing.catalogue import Catalogue
from provisioner.desired import Installation
from provisioner.errors import ConfigurationInvalid, TenantryError
from provisioner.operate import Operator, Pool
from provisioner.settings import ROOT, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from components.spec import TenantOutputs
    from provisioner.billing.gateway import BillingGateway
    from provisioner.cell import Cells
    from provisioner.engine.runtime import EngineRuntime
    from provisioner.engine.state import PostgresState
    from provisioner.gate.gatekeeper import Gatekeeper
    from provisioner.metering.service import Metering
    from provisioner.periodic import Periodic
    from provisioner.quotas.admission import Admission
    from provisioner.reconcile import Reconciler
    from provisioner.worker import WorkerProcess

PROJECT = "tenantry"


@asynccontextmanager
async def open_pool(settings: Settings, *, min_size: int = 1, max_size: int = 8) -> AsyncIterator[Pool]:
    """Connections to the registry; waits at most 10 s for the first."""
    pool: Pool = AsyncConnectionPool(
        settings.database_url.get_secret_value(),
        min_size=min_size,
        max_size=max_size,
        open=False,
        check=AsyncConnectionPool.check_connection,  # a server that was restarted costs no job its connection
        timeout=10,
        kwargs={"application_name": "tenantry", "connect_timeout": 10},
    )
    async with pool:
        yield pool


def catalogue(settings: Settings) -> Catalogue:
    return catalogues.load(settings.catalogue)


def installation(settings: Settings) -> Installation:
    version = stack_request.migrations(settings.app_schema).version
    return Installation(settings.installation, settings.environment, version)


def gateway(settings: Settings) -> BillingGateway:
    from provisioner.billing.gateway_stripe import StripeGateway

    return StripeGateway(settings.stripe_api_key.get_secret_value(), settings.stripe_api_base)


def state(settings: Settings) -> PostgresState:
    from provisioner.engine.state import PostgresState

    return PostgresState(settings.pulumi_backend_url(), PROJECT)


def gatekeeper(settings: Settings, admission: Admission | None = None) -> Gatekeeper:
    """``admission``: of the account's quotas; without one, none are looked at."""
    from policies.rules import RULES
    from provisioner.gate.configured import configuration
    from provisioner.gate.gatekeeper import Gatekeeper

    return Gatekeeper(RULES, configuration(settings.policy_config, RULES), quotas=admission)


def quota_admission(settings: Settings) -> Admission:
    from provisioner.quotas.admission import Admission
    from provisioner.quotas.aws import Boto3Clients
    from provisioner.quotas.preflight import Preflight

    clients = Boto3Clients()
    return Admission(Preflight(clients), clients, settings.region)


def policy_version(settings: Settings) -> str:
    """Of the rules and what sets them: another one has every stack judged again."""
    from provisioner import fingerprint
    from provisioner.gate import configured

    return fingerprint.policy_version(configured.text(settings.policy_config))


def prepare_database(settings: Settings) -> None:
    """Bring the control plane's schema to this version; every process does so at its start."""
    from provisioner.registry.migrate import migrate

    migrate(settings.database_url.get_secret_value(), settings.pulumi_backend_url())


def secrets_provider(settings: Settings) -> str | None:
    """``awskms://...``, or None for the passphrase; ``ConfigurationInvalid`` when there is neither."""
    if settings.secrets_provider not in (None, "", "passphrase"):
        return settings.secrets_provider
    if not (os.environ.get("PULUMI_CONFIG_PASSPHRASE") or os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")):
        raise ConfigurationInvalid(
            "nothing encrypts the secrets in Pulumi's state",
            hint="set TENANTRY_SECRETS_PROVIDER=awskms://..., or PULUMI_CONFIG_PASSPHRASE for a laptop",
        )
    return None


@dataclass(frozen=True)
class Core:
    """What worker processes and one-off commands share."""

    settings: Settings
    pool: Pool
    gateway: BillingGateway
    catalogue: Catalogue
    state: PostgresState
    operator: Operator
    reconciler: Reconciler
    cells: Cells
    admission: Admission


@asynccontextmanager
async def open_core(settings: Settings, *, runtime: EngineRuntime | None = None) -> AsyncIterator[Core]:
    """Everything that changes stacks, ready for use and warm."""
    from provisioner import materialise
    from provisioner.cell import Cells, PlatformDefaults
    from provisioner.deployer import Deployer
    from provisioner.engine.runtime import prepare
    from provisioner.finder import AwsFinder
    from provisioner.gate.stack_gate import StackGate
    from provisioner.offboarding import configured as offboarding
    from provisioner.purge import purge
    from provisioner.reconcile import Reconciler
    from provisioner.selling.trials import TrialGuard

    provider = secrets_provider(settings)
    plans, standard = catalogue(settings), installation(settings)
    await asyncio.to_thread(prepare_database, settings)
    engine = runtime if runtime is not None else await asyncio.to_thread(prepare, settings.home)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings))
        stripe = gateway(settings)
        stack.push_async_callback(stripe.close)
        store = state(settings)
        stack.callback(store.close)
        deployer = Deployer(
            pulumi=engine.pulumi,
            environment=engine.environment(
                backend_url=settings.pulumi_backend_url().replace("postgresql://", "postgres://", 1)
            ),
            project=yaml.safe_load((ROOT / "Pulumi.yaml").read_text()),
            root=ROOT,
            store=store,
            finder=AwsFinder(settings.region),
        )
        keep_file = partial(materialise.keep, state=store, secrets_provider=provider, directory=settings.stack_files)
        admission = quota_admission(settings)
        guard = StackGate(gatekeeper(settings, admission), store)
        operator = Operator(pool, settings.database_url.get_secret_value(), deployer, provider, guard, keep_file)
        stack.callback(operator.close)
        cells = Cells(
            pool,
            operator,
            store,
            settings.app_schema,
            PlatformDefaults(
                settings.installation, settings.environment, settings.region, settings.broker_principal_arns
            ),
            policy_version(settings),
        )
        reconciler = Reconciler(
            pool,
            stripe,
            plans,
            standard,
            settings.app_schema,
            operator,
            store,
            purge,
            policy_version(settings),
            _prove_changed,
            offboarding=offboarding.offboarding(settings, pool, plans, store, stripe.now),
            refused_trials=TrialGuard(pool, stripe),
        )
        yield Core(settings, pool, stripe, plans, store, operator, reconciler, cells, admission)


async def _prove_changed(connection: AsyncConnection, outputs: TenantOutputs) -> None:
    from provisioner.registry import queue

    await queue.defer_proof(connection, outputs.tenant_id, outputs.cell)


def warm_up() -> None:
    """Import what every operation needs, so that the first one is as fast as the others."""
    import stacks.platform
    import stacks.tenant  # noqa: F401


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[WorkerProcess]:
    """A worker process; at its start the default cell's platform stack is queued if it is missing or outdated."""
    from provisioner import jobs
    from provisioner.audit.opening import auditor
    from provisioner.housekeeping import Housekeeping
    from provisioner.inbox import Inbox
    from provisioner.periodic import Periodic, Rounds
    from provisioner.proving.child import ChildProver
    from provisioner.proving.nightly import Nightly
    from provisioner.registry import queue
    from provisioner.storage_opening import storage_work
    from provisioner.sweep import Sweep
    from provisioner.worker import WorkerProcess

    await asyncio.to_thread(warm_up)
    async with (
        open_core(settings) as core,
        _messages(core) as messages,
        _usage(core) as usage,
        storage_work(settings, core.pool, core.catalogue) as stored,
    ):
        _prepare_quotas(core.admission)
        inbox = Inbox(core.pool, core.gateway, core.catalogue, settings.cell)
        url = settings.database_url.get_secret_value()
        prover = ChildProver(settings, core.pool)
        app = jobs.make_app(url, jobs.Handlers(inbox, core.reconciler, core.cells, prover))
        async with core.pool.connection() as connection:
            await queue.defer_platform(connection, settings.cell, reason="a worker started")
        sweep = Sweep(core.pool, inbox, core.reconciler)
        nightly = Nightly(core.pool, settings.proof_time, settings.evidence_days)
        check = auditor(core.pool, inbox, core.catalogue, core.reconciler.installation, core.state)
        nightly_audit = Periodic("audit", 600.0, check.run_nightly)
        rounds = Rounds((*_periodic(core), *messages, *usage, *stored, nightly_audit))
        keeping = Housekeeping(core.pool, url, app, sweep, settings.sweep_interval_s, nightly, rounds)
        yield WorkerProcess(app, core.operator, keeping, settings.shutdown_grace_s, prover)


def _periodic(core: Core) -> tuple[Periodic, ...]:
    from provisioner.hibernation.keeper import EVERY_S, Keeper
    from provisioner.offboarding.configured import retention
    from provisioner.overriding import OverrideKeeper
    from provisioner.periodic import Periodic
    from provisioner.quotas.aws import Boto3Clients
    from provisioner.selling.opening import UntoldChanges

    keeper = Keeper(core.pool, core.operator, Boto3Clients())
    return (
        Periodic("hibernation", EVERY_S, keeper.run_due),
        Periodic("copies", 600.0, retention(core.settings, core.pool).run_due),
        Periodic("overrides", 60.0, OverrideKeeper(core.pool).run_due),
        Periodic("planned_changes", 60.0, UntoldChanges(core.pool, core.settings).run_due),
    )


@asynccontextmanager
async def _messages(core: Core) -> AsyncIterator[tuple[Periodic, ...]]:
    """The periodic work of messages to customers; none without a mail server."""
    from provisioner.billing.payer import StripePayerGateway
    from provisioner.notifications import service

    settings = core.settings
    stripe = StripePayerGateway(settings.stripe_api_key.get_secret_value(), settings.stripe_api_base)
    try:
        notifier = service.make(settings, core.pool, stripe, core.catalogue)
        yield () if notifier is None else notifier.work()
    finally:
        await stripe.close()


@asynccontextmanager
async def _usage(core: Core) -> AsyncIterator[tuple[Periodic, ...]]:
    """The periodic work of metering."""
    from provisioner.metering import opening

    async with opening.metering(core.settings, core.pool, core.gateway, core.catalogue) as metering:
        yield metering.work()


@asynccontextmanager
async def open_metering(settings: Settings, pool: Pool) -> AsyncIterator[Metering]:
    """Metering for one command."""
    from provisioner.metering import opening

    stripe = gateway(settings)
    try:
        async with opening.metering(settings, pool, stripe, catalogue(settings)) as metering:
            yield metering
    finally:
        await stripe.close()


def _prepare_quotas(admission: Admission) -> None:
    """Ask AWS for the account's limits beside everything else: the first operation would wait for them."""

    def prepare() -> None:
        with suppress(TenantryError):  # the operation that needs them asks again, and tells
            admission.prepare()

    threading.Thread(target=prepare, name="quotas", daemon=True).start()


def web(settings: Settings) -> ASGIApp:
    """The HTTP service."""
    from provisioner.web import make_web

    return make_web(settings)
