"""What the handlers of several resources share: metadata, deletion, unsetting."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.store import Object


def merge_metadata(current: dict[str, str], given: Any) -> dict[str, str]:
    """Stripe's rule: keys given are set, keys given as ``""`` are removed, ``metadata=""`` removes all."""
    if given is None:
        return dict(current)
    if given == "":
        return {}
    merged = {**current, **given}
    return {key: value for key, value in merged.items() if value != ""}


def none_if_empty(value: Any) -> Any:
    """An empty string unsets a field."""
    return None if value == "" else value


def assign(document: Object, params: dict[str, Any], *names: str) -> None:
    """Copy the named parameters that were given."""
    for name in names:
        if name in params:
            document[name] = none_if_empty(params[name])


def deleted(document: Object) -> Object:
    return {"id": document["id"], "object": document["object"], "deleted": True}


def coupon_is_valid(coupon: Object, now: int) -> bool:
    """Whether a coupon can be redeemed at ``now`` (Unix seconds)."""
    uses, expires = coupon["max_redemptions"], coupon["redeem_by"]
    return (uses is None or coupon["times_redeemed"] < uses) and (expires is None or now < expires)
