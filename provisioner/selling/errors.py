"""Why a sale or a change of one is refused. Each is told to the application: code, what, what to do."""

from __future__ import annotations

from provisioner.errors import NotFound, Reject, RetryLater


class UnknownTenant(NotFound):
    """Nobody signed up with that id."""

    code = "unknown_tenant"


class InvalidRequest(Reject):
    """What was sent can't be meant: an address, a number of seats, a URL."""

    code = "invalid_request"


class TenantTaken(Reject):
    """Another sign-up, or a tenant that stands, has the id."""

    code = "tenant_taken"


class AlreadySubscribed(Reject):
    """There is a subscription already: it is changed or paid, never doubled."""

    code = "already_subscribed"


class NotSubscribed(Reject):
    """There is no subscription that could be changed."""

    code = "not_subscribed"


class NotChangeable(Reject):
    """The subscription's present state does not allow the change."""

    code = "not_changeable"


class SeatsRefused(Reject):
    """The plan is not sold by the seat, or not in that number."""

    code = "seats_refused"


class ReturnUrlRefused(Reject):
    """A URL that Stripe would send the customer to, and that is not the application's."""

    code = "return_url_refused"


class Busy(RetryLater):
    """Another change of the same tenant is under way."""

    code = "busy"
