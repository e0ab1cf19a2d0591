"""Whose customer a tenant is: one for each, made once, whatever is lost on the way.

The id is reserved in the registry before Stripe is asked, and the reservation's key makes Stripe answer with the same
customer however often it is asked. After a day Stripe may have forgotten the key: then the customer is looked for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from psycopg import AsyncConnection

from components.spec import validate_tenant_id
from provisioner.billing.gateway import Document
from provisioner.billing.sales import StripeSales
from provisioner.billing.translate import TENANT_KEY
from provisioner.registry import storefront, tenants
from provisioner.registry.storefront import Signup
from provisioner.selling.errors import InvalidRequest, NotChangeable, TenantTaken, UnknownTenant
from provisioner.selling.identity import normalized

SIGNUP_KEY = "tenantry_signup"  #: in the customer's metadata: which sign-up made it
HOLD = timedelta(days=2)  #: a checkout is open for a day


async def of_tenant(connection: AsyncConnection, tenant_id: str) -> str:
    """The id of the tenant's customer. ``UnknownTenant`` if nobody signed up."""
    record = await tenants.get(connection, tenant_id)
    if record is not None and record.stripe_customer_id is not None:
        return record.stripe_customer_id
    signup = await storefront.signup(connection, tenant_id)
    if signup is None or signup.stripe_customer_id is None:
        raise UnknownTenant(f"no tenant {tenant_id!r} is known", hint="check the id; a new one signs up first")
    return signup.stripe_customer_id


async def sign_up(
    connection: AsyncConnection, sales: StripeSales, tenant_id: str, *, reference: str, email: str, name: str | None
) -> str:
    """Reserve the id for ``reference`` and give it a customer. ``TenantTaken`` if it is somebody else's.

    The caller is the only one who sells to the tenant meanwhile (``storefront.one_at_a_time``).
    """
    try:
        validate_tenant_id(tenant_id)
    except ValueError as error:
        raise InvalidRequest(f"{tenant_id[:60]!r} can't be a tenant's id: {error}", hint="choose another one") from None
    email = normalized(email)
    signup = await storefront.signup(connection, tenant_id)
    record = await tenants.get(connection, tenant_id)
    known = None if record is None else record.stripe_customer_id
    if record is not None and (signup is None or known is None or known != signup.stripe_customer_id):
        raise _taken(tenant_id)
    if signup is not None and signup.reference != reference:
        if record is not None or not signup.lapsed:
            raise _taken(tenant_id)
        await _evict(connection, sales, signup)
    if not await storefront.reserve(connection, tenant_id, reference=reference, email=email, name=name, hold=HOLD):
        raise _taken(tenant_id)
    signup = await storefront.signup(connection, tenant_id)
    assert signup is not None
    customer_id = signup.stripe_customer_id
    if customer_id is None:
        customer_id = await _made(sales, signup)
        await storefront.record_customer(connection, tenant_id, customer_id)
    name = name or signup.name
    if (signup.email, signup.name) != (email, name):
        await sales.update_customer(customer_id, _contact(email, name))
        await storefront.record_contact(connection, tenant_id, email=email, name=name)
    return customer_id


async def live(sales: StripeSales, tenant_id: str, customer_id: str) -> Document:
    """The customer's document. ``NotChangeable`` for one that was deleted: a tenant never gets a second one."""
    document = await sales.customer(customer_id)
    if document.get("deleted"):
        raise NotChangeable(
            f"the customer of tenant {tenant_id} was deleted in Stripe",
            hint="an operator has to decide what it is bound to: nothing new is sold to it",
        )
    return document


async def _made(sales: StripeSales, signup: Signup) -> str:
    if signup.key_forgotten:
        for found in await _made_before(sales, signup):
            return str(found["id"])
    params: dict[str, Any] = {
        **_contact(signup.email, signup.name),
        "metadata": {TENANT_KEY: signup.tenant_id, SIGNUP_KEY: str(signup.idempotency_key)},
    }
    document = await sales.create_customer(params, key=f"tenantry-customer-{signup.idempotency_key}")
    return str(document["id"])


def _contact(email: str, name: str | None) -> dict[str, Any]:
    return {"email": email} | ({"name": name} if name else {})


async def _made_before(sales: StripeSales, signup: Signup) -> list[Document]:
    found = await sales.customers_with_email(signup.email)
    key = str(signup.idempotency_key)
    return [each for each in found if (each.get("metadata") or {}).get(SIGNUP_KEY) == key]


async def _evict(connection: AsyncConnection, sales: StripeSales, signup: Signup) -> None:
    """End a sign-up that nobody paid for: its checkouts can't be completed any more, its customer is deleted."""
    if signup.stripe_customer_id is None:
        candidates = [str(each["id"]) for each in await _made_before(sales, signup)]
    else:
        candidates = [signup.stripe_customer_id]
    for customer_id in candidates:
        if (await sales.customer(customer_id)).get("deleted"):
            continue
        for session in await sales.open_checkouts(customer_id):
            await sales.expire_checkout(session["id"])
        # afterwards: one that was completed just before shows here
        if await sales.subscriptions_of(customer_id):
            raise _taken(signup.tenant_id)
        await sales.delete_customer(customer_id)
    await storefront.release_signup(connection, signup.tenant_id)


def _taken(tenant_id: str) -> TenantTaken:
    return TenantTaken(
        f"the id {tenant_id!r} is taken", hint="choose another one; a tenant that exists signs in instead"
    )
