"""Files: names as the tenant sees them. Bucket, prefix, key and credentials are the SDK's part."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from example.app.parts import Sdk
from tenantry import LimitExceeded

MAX_BYTES = 10 * 1024 * 1024


async def _in_plan(sdk: Sdk) -> None:
    await sdk.placement()  # a tenant whose access is withdrawn is told so, not that its plan is too small
    if not sdk.entitled("files"):
        raise HTTPException(403, "the plan has no files")


router = APIRouter(dependencies=[Depends(_in_plan)])


@router.get("/files")
async def listing(sdk: Sdk) -> list[dict[str, Any]]:
    return [{"name": each.name, "size": each.size} for each in await (await sdk.files()).list()]


@router.put("/files/{name:path}", status_code=204)
async def put(name: str, request: Request, sdk: Sdk) -> None:
    """413 for more than ``MAX_BYTES``, 403 for more than the plan allows in all."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(413, f"at most {MAX_BYTES} bytes")
    kind = request.headers.get("content-type", "application/octet-stream")
    try:
        await (await sdk.files()).put(name, bytes(body), content_type=kind)
    except LimitExceeded as error:
        raise HTTPException(403, f"the plan allows {error.limit} MiB") from None


@router.get("/files/{name:path}")
async def get(name: str, sdk: Sdk) -> Response:
    try:
        content = await (await sdk.files()).get(name)
    except FileNotFoundError:
        raise HTTPException(404, "no such file") from None
    # never as the type that was uploaded: a page of one user must not run in another's browser
    return Response(content, media_type="application/octet-stream", headers={"Content-Disposition": "attachment"})


@router.delete("/files/{name:path}", status_code=204)
async def delete(name: str, sdk: Sdk) -> None:
    await (await sdk.files()).delete(name)
