"""One run of a proof: what it opened and read, shared by all attempts, and closed at its end."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from components.spec import TenantOutputs
from isolation import api, aws, broker_attacks, database, matrix
from isolation.attacks import named_elsewhere, outsider, powers
from isolation.attempts import Attempt, Layer, Probe, failed
from isolation.aws_clients import one_client_each
from isolation.broker import Broker
from isolation.catalogue.inspection import Inspection
from isolation.cloud_subject import CloudSubject
from isolation.connections import Logins
from isolation.documents import Documents
from isolation.iam.collect import Aws, Cloud
from isolation.installation import Installation, TokenKey
from isolation.neighbours import Pair
from isolation.state import declared
from isolation.state.holder import Holder, of_shared, of_tenant
from isolation.state.inspection import between, placement
from isolation.state.inspection import probes as state_of
from isolation.state.reader import State
from isolation.subject import Subject
from isolation.walls import endpoints
from isolation.walls.probes import probes as walls
from isolation.witness import Holdings, holdings
from tenantry import Tenantry

Family = tuple[Layer, Callable[[], Iterable[Probe]]]


class _OnceAPool:
    """A pool's token key, asked for once."""

    def __init__(self, key: TokenKey) -> None:
        self._key = key
        self._known: dict[tuple[str, int, str], bytes] = {}

    def __call__(self, tenant: TenantOutputs) -> bytes:
        pool = (tenant.database.address, tenant.database.port, tenant.database.name)
        if pool not in self._known:
            self._known[pool] = self._key(tenant)
        return self._known[pool]


class Run:
    """``fast``: only the probes that are marked so; ``layers``: only families of these. For a ``with`` block."""

    def __init__(
        self,
        *,
        sdk: Tenantry,
        aws: Aws,
        installation: Installation,
        fast: bool,
        layers: Collection[Layer] = frozenset(Layer),
    ) -> None:
        self._sdk = sdk
        self._layers = layers
        self._installation = installation
        self._fast = fast
        self._session = aws
        self._aws = one_client_each(aws)
        self._cloud = Cloud(self._aws)
        self._state = State(self._aws)
        self._broker = Broker(sdk.config)
        self._logins = Logins()
        self._subjects: dict[str, Subject] = {}
        self._known: dict[str, Holdings | Exception] = {}
        key = installation.token_key
        self._token_key = None if key is None else _OnceAPool(key)
        self._tried_of_logins: set[tuple[object, ...]] = set()
        self._made_up: list[tuple[Subject, contextlib.ExitStack]] = []

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.clean_up()
        self._logins.close()
        self._broker.close()

    def clean_up(self) -> list[Attempt]:
        """Remove what was made up to be stolen; what could not be is an attempt that failed."""
        left = []
        for subject, stack in reversed(self._made_up):
            try:
                stack.close()
            except Exception as error:
                tried = "removes the row that was made up for the proof"
                left.append(failed("clean-up", Layer.DATABASE, subject.id, subject.id, tried, error))
        self._made_up.clear()
        return left

    def pairs(self, pairs: Sequence[Pair]) -> Iterator[Attempt]:
        """Each attacker against its victim."""
        for attacker, victim in pairs:
            one, other = self._subject(attacker), self._subject(victim)
            logins = (*one.database, one.outputs.login, *other.database, other.outputs.db_schema)
            yield from self._tried(self._pair(one, other), one.id, other.id, logins)

    def places(self, tenants: Sequence[TenantOutputs], *, whole: bool) -> Iterator[Attempt]:
        """Each database that ``tenants`` live in, against what must stand there."""
        found: dict[tuple[str, int, str], list[Subject]] = {}
        for tenant in tenants:
            subject = self._subject(tenant)
            found.setdefault(subject.database, []).append(subject)
        known = self._installation.reference_tables
        reference = None if known is None else tuple(sorted(known))
        for residents in found.values():
            of = residents[0].id if len(residents) == 1 else f"database {residents[0].outputs.database.name}"
            inspection = Inspection(residents, whole, reference)
            yield from self._tried([(Layer.DATABASE, inspection.probes)], of, of)

    def powers(self, tenants: Sequence[TenantOutputs]) -> Iterator[Attempt]:
        """What each login might become in its own database; one tenant of each login tries."""
        logins = {(self._subject(each).database, each.login): self._subject(each) for each in reversed(tenants)}
        for attacker in reversed(logins.values()):
            family: Family = (Layer.DATABASE, partial(self._powers, attacker))
            yield from self._tried([family], attacker.id, f"database {attacker.outputs.database.name}")

    def _powers(self, attacker: Subject) -> Iterator[Probe]:
        return powers.probes(attacker, self._holdings(attacker))

    def outsiders(self, tenants: Sequence[TenantOutputs]) -> Iterator[Attempt]:
        """Nobody's credentials: at one tenant of each login, which is as good as at all of them."""
        doors = {(self._subject(each).database, each.login): self._subject(each) for each in reversed(tenants)}
        for number, victim in enumerate(reversed(doors.values())):
            families: list[Family] = [(Layer.DATABASE, partial(outsider.database_probes, victim))]
            if number == 0:
                families.append((Layer.API, partial(outsider.service_probes, victim)))
            yield from self._tried(families, victim.id, victim.id)

    def holders(self, tenants: Sequence[TenantOutputs], others: Sequence[TenantOutputs]) -> Iterator[Attempt]:
        """What each of ``tenants`` has of its own in AWS, and what those share who have nothing of their own."""
        for tenant in tenants:
            beside = tuple(each for each in others if each.tenant_id != tenant.tenant_id)
            probe = placement(tenant, beside, self._installation.platform(tenant))
            yield from self._tried([(Layer.IAM, partial(_one, probe))], tenant.tenant_id, tenant.tenant_id)
        for holder in self._held(tenants):
            yield from self._declared(holder)
            documents = Documents(holder, holder.members[0].tenant_id, self._cloud)
            families: list[Family] = [
                (Layer.FILES, partial(state_of, self._state, holder)),
                (Layer.FILES, partial(walls, documents)),
                (Layer.NETWORK, partial(endpoints.probes, self._state, documents)),
            ]
            yield from self._tried(families, holder.members[0].tenant_id, holder.name)

    def _declared(self, holder: Holder) -> Iterator[Attempt]:
        """The holder's policy documents against those that its stack asked for, where that is known."""
        known, member = self._installation.declared, holder.members[0]
        if known is not None:

            def probe() -> Iterable[Probe]:
                documents = known(member, holder.own)
                return (declared.probe(self._aws, documents),) if documents else ()

            yield from self._tried([(Layer.IAM, probe)], member.tenant_id, holder.name)

    def _held(self, tenants: Sequence[TenantOutputs]) -> list[Holder]:
        found, shared = [], dict[tuple[str, str], list[TenantOutputs]]()
        for tenant in tenants:
            own = of_tenant(tenant, self._installation.platform(tenant))
            if own is not None:
                found.append(own)
            else:
                shared.setdefault((tenant.cell, tenant.role_arn), []).append(tenant)
        for members in shared.values():
            found.append(of_shared(tuple(members), self._installation.platform(members[0])))
        return found

    def _holder(self, tenant: TenantOutputs) -> Holder:
        return self._held([tenant])[0]

    def _tried(
        self, families: Iterable[Family], attacker: str, victim: str, logins: tuple[object, ...] = ()
    ) -> Iterator[Attempt]:
        for layer, make in families:
            if layer not in self._layers:
                continue
            try:
                for probe in make():
                    if self._wanted(probe, logins):
                        yield probe.run(attacker, victim)
            except Exception as error:
                yield failed("not-tried", layer, attacker, victim, f"attacks at the border {layer}", error)

    def _wanted(self, probe: Probe, logins: tuple[object, ...]) -> bool:
        if self._fast and not probe.fast:
            return False
        if not probe.of_logins:
            return True
        key = (probe.layer, probe.name, *logins)
        new = key not in self._tried_of_logins
        self._tried_of_logins.add(key)
        return new

    def _pair(self, attacker: Subject, victim: Subject) -> list[Family]:
        one, other = CloudSubject(attacker.outputs, self._cloud), CloudSubject(victim.outputs, self._cloud)
        known = replace(self._installation, token_key=self._token_key)
        return [
            (
                Layer.DATABASE,
                lambda: database.probes(attacker, victim, self._holdings(attacker), self._holdings(victim), known),
            ),
            (Layer.IAM, lambda: aws.iam_probes(one, other, attacker)),
            (Layer.IAM, lambda: broker_attacks.probes(one, other)),
            (
                Layer.IAM,
                lambda: matrix.probes(one, other, (self._holder(attacker.outputs), self._holder(victim.outputs))),
            ),
            (Layer.FILES, lambda: itertools.chain(aws.file_probes(one, other), api.file_probes(attacker, victim))),
            (
                Layer.API,
                lambda: itertools.chain(api.probes(attacker, victim), named_elsewhere.probes(attacker, victim)),
            ),
            (Layer.NETWORK, lambda: self._between(attacker, victim)),
        ]

    def _between(self, attacker: Subject, victim: Subject) -> Iterator[Probe]:
        one, other = self._holder(attacker.outputs), self._holder(victim.outputs)
        return between(self._state, one, other) if one.instance != other.instance else iter(())

    def _subject(self, outputs: TenantOutputs) -> Subject:
        if outputs.tenant_id not in self._subjects:
            self._subjects[outputs.tenant_id] = Subject(outputs, self._sdk, self._broker, self._logins)
        return self._subjects[outputs.tenant_id]

    def _holdings(self, subject: Subject) -> Holdings:
        """What the tenant holds, looked up once; a row made up for it is gone after ``clean_up``."""
        if subject.id not in self._known:
            stack = contextlib.ExitStack()
            try:
                self._known[subject.id] = stack.enter_context(holdings(subject))
                self._made_up.append((subject, stack))
            except Exception as error:
                self._known[subject.id] = error
        found = self._known[subject.id]
        if isinstance(found, Exception):
            raise found
        return found


def _one(probe: Probe) -> Iterable[Probe]:
    return (probe,)
