"""Pulumi's names of resources."""


def split_urn(urn: str) -> tuple[str, str]:
    """``urn:pulumi:stack::project::parent$type::name`` to ``(type, name)``; a name may contain ``::``."""
    parts = urn.split("::", 3)
    return (parts[2].rsplit("$", 1)[-1], parts[3]) if len(parts) == 4 else ("", urn)
