"""Whether customers can be told anything: the mail server, the policy, and that every template renders."""

from __future__ import annotations

import asyncio

from provisioner.checks import Finding, fail, ok, skipped, warn
from provisioner.settings import Settings


def mail(settings: Settings) -> Finding:
    from provisioner.notifications import service
    from provisioner.notifications.smtp import SmtpTransport, Verdict

    server = service.server_of(settings)
    if server is None:
        return skipped(
            "no mail server is set: customers are told nothing", "set TENANTRY_SMTP_HOST (docs/notifications.md)"
        )
    letterhead = service.letterhead_of(settings)
    failures = templates(settings)
    if failures:
        return fail(
            failures[0], f"{len(failures)} of your templates can't be rendered: tenantry notifications preview all"
        )

    async def greet() -> str | None:
        async with SmtpTransport(server) as transport:
            answer = await transport.probe()
        return None if answer.verdict is Verdict.ACCEPTED else answer.text

    problem = asyncio.run(greet())
    if problem is not None:
        return fail(
            f"the mail server {server.host}:{server.port} can't be used: {problem}", "check the TENANTRY_SMTP_ settings"
        )
    said = f"{server.host}:{server.port}, {server.security.value}, from {letterhead.sender.addr_spec}"
    if server.security.value == "none":
        return warn(f"{said}: nothing on the way is encrypted", "set TENANTRY_SMTP_SECURITY to starttls or tls")
    return ok(said)


def templates(settings: Settings) -> list[str]:
    """What is wrong with each message that can't be rendered, in any language that has a directory."""
    from provisioner.notifications import service
    from provisioner.notifications.facts import Recipient
    from provisioner.notifications.render import OURS, TemplateFailed
    from provisioner.notifications.samples import SAMPLES

    own = settings.mail_templates
    if own is not None and not own.is_dir():
        return [f"TENANTRY_MAIL_TEMPLATES: there is no directory {own}"]
    renderer = service.renderer_of(settings)
    roots = [OURS] if own is None else [OURS, own]
    languages = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    problems = []
    for language in sorted(languages):
        for kind, fields in SAMPLES.items():
            try:
                renderer.render(kind, Recipient("a@example.com", "Ada", (language,)), fields)
            except TemplateFailed as failed:
                problems.append(failed.message)
    return problems
