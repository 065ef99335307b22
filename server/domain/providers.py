"""The OpenID Connect provider at which people sign in, and what it decides: who comes in, and in which role."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from server.domain.accounts import Role

EVERYBODY = "*"  # as a domain: whoever the provider lets in
E_MAIL = "email"


@dataclass(frozen=True)
class Provider:
    """What an administrator says about a provider. `secret` is empty where the client is a public one."""

    issuer: str
    client_id: str
    secret: str = field(default="", repr=False)
    name_claim: str = E_MAIL
    groups_claim: str = "groups"
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    role: Role | None = Role.VIEWER  # None: whoever comes sees no project until an admin names one
    roles: tuple[tuple[str, Role], ...] = ()  # group and role; where there are any, they hold at each sign-in

    @property
    def host(self) -> str:
        """What people know the provider by."""
        return urlsplit(self.issuer).netloc
