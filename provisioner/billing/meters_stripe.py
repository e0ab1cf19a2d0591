"""``MeterGateway`` on the ``stripe`` library."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import stripe

from provisioner.billing.errors import translate_error, translated
from provisioner.billing.gateway import Document
from provisioner.billing.gateway_stripe import close, every, make_client
from provisioner.billing.meters import BilledMeter, MeterEvent, Outcome, Receipt

_NO_METER = frozenset({"no_meter", "archived_meter"})


class StripeMeters:
    """Belongs to the event loop that first uses it. ``close`` it there."""

    def __init__(
        self, api_key: str, api_base: str | None = None, *, timeout_s: float = 20.0, max_retries: int = 2
    ) -> None:
        self._client = make_client(api_key, api_base, timeout_s=timeout_s, max_retries=max_retries)

    async def send(self, event: MeterEvent) -> Receipt:
        params = {
            "event_name": event.meter,
            "identifier": event.identifier,
            "payload": {"stripe_customer_id": event.customer_id, "value": str(event.value)},
            "timestamp": int(event.at.timestamp()),
        }
        try:
            await self._client.raw_request_async("post", "/v1/billing/meter_events", **params)
        except stripe.InvalidRequestError as error:
            return _receipt(error)
        except stripe.StripeError as error:
            raise translate_error(error, f"reporting usage of {event.customer_id}") from error
        return Receipt(Outcome.TAKEN)

    async def hours(self, meter_id: str, customer_id: str, since: datetime, until: datetime) -> Mapping[datetime, int]:
        params = {
            "customer": customer_id,
            "start_time": int(since.timestamp()),
            "end_time": int(until.timestamp()),
            "value_grouping_window": "hour",
        }
        path = f"/v1/billing/meters/{quote(meter_id, safe='')}/event_summaries"
        with translated(f"reading what meter {meter_id} counted for {customer_id}"):
            found = [each async for each in every(self._get, path, params)]
        return {datetime.fromtimestamp(each["start_time"], UTC): int(each["aggregated_value"]) for each in found}

    async def meters(self) -> Mapping[str, BilledMeter]:
        found: dict[str, BilledMeter] = {}
        with translated("listing meters"):
            async for each in every(self._get, "/v1/billing/meters", {}):
                active = each["status"] == "active"
                if active or each["event_name"] not in found:
                    meter = BilledMeter(each["id"], each["event_name"], each["default_aggregation"]["formula"], active)
                    found[meter.name] = meter
        return found

    async def _get(self, path: str, params: Document) -> Document:
        answer = await self._client.raw_request_async("get", path, **params)
        document: Document = json.loads(answer.body)
        return document

    async def close(self) -> None:
        await close(self._client)


def _receipt(error: stripe.InvalidRequestError) -> Receipt:
    """Of an event that Stripe did not take this time. Anything but a plain refusal of the event is raised."""
    message = error.user_message or ""
    if error.code == "duplicate_meter_event" or re.search("already exists with identifier", message):
        return Receipt(Outcome.KNOWN)
    if error.code in _NO_METER or "No active meter found" in message:
        return Receipt(Outcome.NO_METER, message)
    if error.http_status in (400, 404) and error.code != "lock_timeout":
        return Receipt(Outcome.REFUSED, f"{error.code or 'invalid_request'}: {message}"[:500])
    raise translate_error(error, "reporting usage") from error
