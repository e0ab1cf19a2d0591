"""What the routes are given: the process's SDK and the request's user."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from example.app import sign_in
from tenantry import AsyncTenantry


def _sdk(request: Request) -> AsyncTenantry:
    sdk: AsyncTenantry = request.app.state.sdk
    return sdk


def _user(request: Request) -> sign_in.User:
    user = request.app.state.sign_in.of_request(request.scope)
    assert user is not None, "the middleware lets no request without a user through"
    return user  # type: ignore[no-any-return]  # state is untyped


Sdk = Annotated[AsyncTenantry, Depends(_sdk)]
User = Annotated[sign_in.User, Depends(_user)]
