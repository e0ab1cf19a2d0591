"""/v1/checkout/sessions for subscriptions. No page: ``POST /_local/checkout/{id}/complete`` plays the customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import DAY
from localcloud.stripe.errors import invalid, missing_param
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.render import view
from localcloud.stripe.resources import customers, payment_methods
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import checkouts, previews, taxes
from localcloud.stripe.subscriptions.creation import create_subscription
from localcloud.stripe.subscriptions.items import price_of

KIND = "checkout.session"


@route(
    "POST",
    "/v1/checkout/sessions",
    "checkout.SessionCreateParams",
    "allow_promotion_codes automatic_tax.enabled billing_address_collection cancel_url client_reference_id customer "
    "customer_creation customer_email customer_update discounts expires_at line_items.adjustable_quantity "
    "line_items.metadata line_items.price line_items.price_data line_items.quantity locale metadata mode "
    "payment_method_collection return_url subscription_data.billing_cycle_anchor subscription_data.billing_mode.type "
    "subscription_data.description subscription_data.metadata subscription_data.proration_behavior "
    "subscription_data.trial_end subscription_data.trial_period_days "
    "subscription_data.trial_settings.end_behavior.missing_payment_method success_url tax_id_collection ui_mode",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    if params.get("mode") != "subscription":
        raise invalid("This server has checkout sessions of mode subscription only", param="mode")
    if not params.get("line_items"):
        raise missing_param("line_items")
    if params.get("allow_promotion_codes") and params.get("discounts"):
        raise invalid("You may only specify one of these parameters: allow_promotion_codes, discounts.")
    if params.get("customer") and params.get("customer_email"):
        raise invalid("You may only specify one of these parameters: customer, customer_email.")
    items = [_item(account, given, f"line_items[{index}]") for index, given in enumerate(params["line_items"])]
    customer = None
    if "customer" in params:
        customer = customers.live(account, params["customer"], param="customer")
    now = account.now(None if customer is None else customer["test_clock"])
    ends = params.get("expires_at", now + DAY)
    if not now + 1800 <= ends <= now + DAY:
        raise invalid("expires_at must be from 30 minutes to 24 hours ahead.", param="expires_at")
    session = _document(params, items, now, ends, None if customer is None else customer["test_clock"])
    _price(account, session, customer)
    return account.store.add(session)


def _item(account: Account, given: dict[str, Any], where: str) -> Object:
    price = price_of(account, given, where)
    metered = price["recurring"]["usage_type"] == "metered"
    if metered and "quantity" in given:
        raise invalid("Quantity should not be specified where usage_type is `metered`.", param=f"{where}[quantity]")
    adjustable = given.get("adjustable_quantity")
    return {
        "price": price["id"],
        "metadata": given.get("metadata") or {},
        "quantity": None if metered else given.get("quantity", 1),
        "adjustable_quantity": None
        if adjustable is None or not adjustable["enabled"]
        else {"maximum": 99, "minimum": 0, **adjustable},
    }


def _subscription_params(session: Object) -> dict[str, Any]:
    """What the session's subscription is created with."""
    items = [
        {name: item[name] for name in ("price", "quantity", "metadata") if item[name] is not None}
        for item in session["_items"]
    ]
    params = {
        "items": items,
        "automatic_tax": {"enabled": session["automatic_tax"]["enabled"]},
        "payment_behavior": "error_if_incomplete",
        **session["_subscription_data"],
    }
    if session["discounts"]:
        params["discounts"] = [
            {name: value for name, value in entry.items() if value is not None} for entry in session["discounts"]
        ]
    return params


def _price(account: Account, session: Object, customer: Object | None) -> None:
    """Write what is to be paid today, found out by a purchase that is undone. Without a place there is no tax yet."""
    with account.imagining():
        buyer = customers.create(account, {}) if customer is None else customer
        params = _subscription_params(session)
        if taxes.country_of(buyer) is None:
            params["automatic_tax"] = {"enabled": False}
        invoice = previews.of_creation(account, buyer, params, after_trial=False)
    off = sum(entry["amount"] for entry in invoice["total_discount_amounts"])
    tax = sum(entry["amount"] for entry in invoice["total_taxes"])
    session.update(
        amount_subtotal=invoice["subtotal"],
        amount_total=invoice["total"],
        currency=invoice["currency"],
        total_details={"amount_discount": off, "amount_shipping": 0, "amount_tax": tax},
    )
    session["_lines"] = [
        {
            "price": line["pricing"]["price_details"]["price"],
            "subtotal": line["amount"],
            "discount": sum(entry["amount"] for entry in line["discount_amounts"]),
            "tax": sum(entry["amount"] for entry in line["taxes"]),
            "added": sum(entry["amount"] for entry in line["taxes"] if entry["tax_behavior"] == "exclusive"),
        }
        for line in invoice["lines"]["data"]
    ]


#: Fields of a session that this server never fills.
_UNUSED = (
    "adaptive_pricing", "after_expiration", "allowed_payment_method_types",
    "branding_settings", "client_secret", "collected_information", "consent",
    "consent_collection", "currency_conversion", "customer_account",
    "excluded_payment_method_types", "integration_identifier", "invoice_creation", "managed_payments",
    "name_collection", "optional_items", "origin_context", "payment_intent", "payment_link",
    "payment_method_configuration_details", "permissions", "presentment_details", "recovered_from",
    "redirect_on_completion", "saved_payment_method_options", "setup_intent", "shipping_address_collection",
    "shipping_cost", "submit_type", "wallet_options",
)  # fmt: skip


def _document(params: dict[str, Any], items: list[Object], now: int, ends: int, clock: str | None) -> Object:
    identifier = new_id(KIND)
    taxed = (params.get("automatic_tax") or {}).get("enabled", False)
    return {
        "id": identifier,
        "object": KIND,
        "_clock": clock,
        "_customer_update": params.get("customer_update") or {},
        "_items": items,
        "_lines": [],
        "_subscription_data": params.get("subscription_data") or {},
        **dict.fromkeys(_UNUSED),
        "allow_promotion_codes": params.get("allow_promotion_codes"),
        "amount_subtotal": 0,
        "amount_total": 0,
        "automatic_tax": {
            "enabled": taxed,
            "liability": {"type": "self"} if taxed else None,
            "provider": "stripe" if taxed else None,
            "status": "requires_location_inputs" if taxed else None,
        },
        "billing_address_collection": params.get("billing_address_collection"),
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": now,
        "currency": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
        "customer": params.get("customer"),
        "customer_creation": None if "customer" in params else "always",
        "customer_details": None,
        "customer_email": params.get("customer_email"),
        "discounts": [
            {name: entry.get(name) for name in ("coupon", "promotion_code")} for entry in params.get("discounts") or []
        ]
        or None,
        "expires_at": ends,
        "invoice": None,
        "livemode": False,
        "locale": params.get("locale"),
        "metadata": merge_metadata({}, params.get("metadata")),
        "mode": "subscription",
        "payment_method_collection": params.get("payment_method_collection", "always"),
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "return_url": params.get("return_url"),
        "shipping_options": [],
        "status": "open",
        "subscription": None,
        "success_url": params.get("success_url"),
        "tax_id_collection": {"enabled": False, "required": "never", **(params.get("tax_id_collection") or {})},
        "total_details": None,
        "ui_mode": params.get("ui_mode", "hosted_page"),
        "url": f"https://checkout.stripe.com/c/pay/{identifier}",
    }


@route("GET", "/v1/checkout/sessions/{session}", "checkout.SessionRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], session: str) -> Object:
    return account.find(KIND, session, noun="checkout.session")


@route("POST", "/v1/checkout/sessions/{session}/expire", "checkout.SessionExpireParams")
def expire(account: Account, params: dict[str, Any], session: str) -> Object:
    found = _open(account, session)
    checkouts.expire(account, found)
    return found


@route("GET", "/v1/checkout/sessions", "checkout.SessionListParams", f"{PAGING} created customer subscription status")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    def keep(session: Object) -> bool:
        return all(params.get(name) in (None, session[name]) for name in ("customer", "subscription", "status"))

    return page(account, KIND, params, "/v1/checkout/sessions", keep)


@route("GET", "/v1/checkout/sessions/{session}/line_items", "checkout.SessionListLineItemsParams", PAGING)
def list_items(account: Account, params: dict[str, Any], session: str) -> Object:
    found = account.find(KIND, session, noun="checkout.session")
    items = [_line_item(account, found, index) for index in range(len(found["_items"]))]
    url = f"/v1/checkout/sessions/{session}/line_items"
    return page(account, "item", params, url, documents=list(reversed(items)))


def _line_item(account: Account, session: Object, index: int) -> Object:
    item = session["_items"][index]
    price = account.find("price", item["price"])
    lines = [line for line in session["_lines"] if line["price"] == item["price"]]
    subtotal, discount, tax, added = (
        sum(line[name] for line in lines) for name in ("subtotal", "discount", "tax", "added")
    )
    return {
        "id": f"li_{session['id'].removeprefix('cs_test_')}{index}",
        "object": "item",
        "adjustable_quantity": item["adjustable_quantity"],
        "amount_discount": discount,
        "amount_subtotal": subtotal,
        "amount_tax": tax,
        "amount_total": subtotal - discount + added,
        "currency": price["currency"],
        "description": account.find("product", price["product"])["name"],
        "metadata": item["metadata"],
        "price": view(account, price),
        "quantity": item["quantity"],
    }


def _open(account: Account, identifier: str) -> Object:
    found = account.find(KIND, identifier, noun="checkout.session")
    if found["status"] != "open":
        raise invalid(f"This Session is {found['status']}, not open.")
    return found


@dataclass(frozen=True)
class Form:
    """What a customer fills in: ``{"payment_method": "pm_card_visa", "email": ..., "name": ..., "address": {...},
    "promotion_code": "LAUNCH", "quantities": [3]}``. ``payment_method: null`` leaves the card out."""

    payment_method: str | None = "pm_card_visa"
    email: str | None = None
    name: str | None = None
    address: dict[str, Any] | None = None
    promotion_code: str | None = None
    quantities: list[int] | None = None

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Form:
        """400 for an unknown field, or one of another type."""
        types: dict[str, type] = {"address": dict, "quantities": list}
        for name, value in body.items():
            if name not in cls.__dataclass_fields__:
                raise invalid(f"Unknown field {name}: there are {', '.join(cls.__dataclass_fields__)}", param=name)
            wanted = types.get(name, str)
            if value is not None and not isinstance(value, wanted):
                raise invalid(f"{name} must be a {wanted.__name__}", param=name)
        numbers = body.get("quantities") or []
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            raise invalid("quantities must be a list of integers", param="quantities")
        return cls(**body)


def complete(account: Account, identifier: str, form: Form) -> Object:
    """What happens when the customer buys: customer, subscription, ``checkout.session.completed``. 402 for a card that
    declines; the session stays open."""
    session = account.store.edit(_open(account, identifier))
    _adjust(session, form.quantities)
    _type_in(account, session, form.promotion_code)
    customer = _customer(account, session, form)
    params = _subscription_params(session)
    if form.payment_method is not None:
        params["default_payment_method"] = payment_methods.attach(account, form.payment_method, customer)["id"]
    _price(account, session, customer)
    if form.payment_method is None and (
        session["payment_method_collection"] == "always" or session["amount_total"] > 0
    ):
        raise invalid("This Session needs a payment method.", param="payment_method")
    subscription = create_subscription(account, customer, {**params, "_checkout": identifier})
    if session["automatic_tax"]["enabled"]:
        session["automatic_tax"]["status"] = "complete"
    session.update(
        status="complete",
        payment_status="paid" if session["amount_total"] > 0 else "no_payment_required",
        subscription=subscription["id"],
        invoice=subscription["latest_invoice"],
        customer_details={
            "address": customer["address"],
            "business_name": customer["business_name"],
            "email": customer["email"],
            "individual_name": customer["individual_name"],
            "name": customer["name"],
            "phone": customer["phone"],
            "tax_exempt": customer["tax_exempt"],
            "tax_ids": [],
        },
        url=None,
    )
    account.emit("checkout.session.completed", session, test_clock=customer["test_clock"])
    return session


def _adjust(session: Object, quantities: list[int] | None) -> None:
    if quantities is None:
        return
    if len(quantities) != len(session["_items"]):
        raise invalid(f"quantities must have {len(session['_items'])} entries", param="quantities")
    for item, quantity in zip(session["_items"], quantities, strict=True):
        bounds = item["adjustable_quantity"]
        if quantity == item["quantity"]:
            continue
        if bounds is None or not bounds["minimum"] <= quantity <= bounds["maximum"]:
            raise invalid("This quantity can't be adjusted so.", param="quantities")
        item["quantity"] = quantity


def _type_in(account: Account, session: Object, code: str | None) -> None:
    if code is None:
        return
    found = next(
        (
            promotion
            for promotion in account.store.all("promotion_code")
            if promotion["active"] and promotion["code"].casefold() == code.casefold()
        ),
        None,
    )
    if not session["allow_promotion_codes"] or found is None:
        raise invalid("This code is invalid.", param="promotion_code")
    session["discounts"] = [{"coupon": None, "promotion_code": found["id"]}]


def _customer(account: Account, session: Object, form: Form) -> Object:
    given = {
        name: value
        for name, value in (("email", form.email), ("name", form.name), ("address", form.address))
        if value is not None
    }
    if session["customer"] is None:
        known = {"email": session["customer_email"]} if session["customer_email"] else {}
        customer = customers.create(account, {**given, **known})
        session["customer"] = customer["id"]
        return customer
    customer = account.find("customer", session["customer"])
    changes = {
        name: given[name]
        for name in ("name", "address")
        if name in given and session["_customer_update"].get(name) == "auto"
    }
    if changes:
        customers.update(account, changes, customer["id"])
    return customer
