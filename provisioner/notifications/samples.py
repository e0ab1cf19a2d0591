"""What each message's fields look like: for previews, and to know their names."""

from __future__ import annotations

from provisioner.notifications.kinds import Kind

_COMMON: dict[str, object] = {"tenant_id": "acme", "plan": "Team"}
_MONEY: dict[str, object] = {"amount": {"amount": 9900, "currency": "eur"}}
_AT: dict[str, object] = {"at": "2026-12-15T09:30:00+00:00"}
_NEXT: dict[str, object] = {"next_access": "read_only", "next_access_at": "2026-12-22T09:30:00+00:00"}
_PAY: dict[str, object] = {"url": "https://invoice.stripe.com/i/acct_1/live_example"}

SAMPLES: dict[Kind, dict[str, object]] = {
    Kind.WELCOME: _COMMON,
    Kind.TRIAL_ENDING: {**_COMMON, **_AT, **_MONEY, "has_payment_method": True},
    Kind.TRIAL_ENDED: {**_COMMON, **_AT, "has_payment_method": False, "converted": False},
    Kind.RENEWAL_UPCOMING: {**_COMMON, **_AT, **_MONEY, "interval": "year"},
    Kind.CARD_EXPIRING: {**_COMMON, **_AT, "brand": "Visa", "last4": "4242"},
    Kind.PAYMENT_FAILED: {**_COMMON, **_MONEY, **_NEXT, **_PAY, "attempt": 1, "next_attempt_at": _AT["at"]},
    Kind.PAYMENT_ACTION_REQUIRED: {**_COMMON, **_MONEY, **_NEXT, **_PAY, "attempt": 1, "next_attempt_at": _AT["at"]},
    Kind.ACCESS_AHEAD: {**_COMMON, **_AT, **_MONEY, **_PAY, "access": "suspended"},
    Kind.ACCESS_CHANGED: {**_COMMON, **_AT, **_MONEY, **_PAY, **_NEXT, "access": "throttled", "overdue": True},
    Kind.RECOVERED: {**_COMMON, **_AT},
    Kind.CANCELLATION_SCHEDULED: {**_COMMON, **_AT},
    Kind.CANCELLED: {**_COMMON, **_AT, "retain_until": "2027-01-14T09:30:00+00:00", "trial": False},
    Kind.DELETION_AHEAD: {**_COMMON, **_AT, "retain_until": "2027-01-14T09:30:00+00:00"},
    Kind.DELETED: {
        **_COMMON,
        **_AT,
        "certificate": "6f0b2c1e",
        "certificate_url": "https://app.example.com/certificate",
    },
    Kind.USAGE: {
        **_COMMON,
        "meter": "api_calls",
        "title": "API calls",
        "percent": 80,
        "used": 80_000,
        "included": 100_000,
        "billed": True,
        "blocked": False,
        "period_until": _AT["at"],
    },
    Kind.EXPORT_READY: {**_COMMON, "until": _AT["at"], "size": "12 MB", "export_url": "https://app.example.com/export"},
    Kind.TEST: {"tenant_id": "acme"},
}
