"""Who has come, from the claims of a provider: whether they may come in, what they are called, and in which role.

Not for: whether the claims are the provider's (id_tokens).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from server.accounts.book import checked_name
from server.accounts.oidc.errors import NotAdmitted
from server.domain.accounts import Arrival, Role
from server.domain.providers import E_MAIL, EVERYBODY, Provider
from server.errors import WrongAccount

VERIFIED = "email_verified"
log = logging.getLogger(__name__)

_ORDER = tuple(Role)  # the least first


def needed(provider: Provider) -> set[str]:
    """Names the claims without which nobody can be judged."""
    names = {provider.name_claim}
    if provider.groups or provider.roles:
        names.add(provider.groups_claim)
    if _asks_for_mail(provider):
        names |= {E_MAIL, VERIFIED}
    return names


def arrival(provider: Provider, claims: Mapping[str, Any]) -> Arrival:
    """Gives who has come; raises NotAdmitted with what is missing, and who can mend it."""
    if _asks_for_mail(provider):
        _check_mail(provider, claims)
    if (provider.groups or provider.roles) and provider.groups_claim not in claims:
        _say_no_groups(provider)
    groups = _groups(claims.get(provider.groups_claim))
    if provider.groups and groups.isdisjoint(provider.groups):
        raise NotAdmitted(
            f"You are in none of the groups that may sign in here. An admin of {provider.host} can add you to one; "
            f"which, GRADWATCH_OIDC_GROUPS of this server says."
        )
    return Arrival(
        provider.issuer, claims["sub"], _name(provider, claims), _role(provider, groups), bool(provider.roles)
    )


def _asks_for_mail(provider: Provider) -> bool:
    return provider.name_claim == E_MAIL or any(domain != EVERYBODY for domain in provider.domains)


def _check_mail(provider: Provider, claims: Mapping[str, Any]) -> None:
    address = claims.get(E_MAIL)
    if not isinstance(address, str) or address.count("@") != 1:
        raise NotAdmitted(f"{provider.host} tells no e-mail address of yours; the scope email is needed for that.")
    if VERIFIED not in claims:
        raise NotAdmitted(
            f"{provider.host} does not say whether your e-mail address is verified. An admin of this server can take "
            "another claim as the name (GRADWATCH_OIDC_NAME_CLAIM), and groups in the place of domains."
        )
    if claims[VERIFIED] not in (True, "true"):
        raise NotAdmitted(
            f"{provider.host} has not verified your e-mail address. Verify it there, then sign in again here."
        )
    domain = address.rpartition("@")[2].lower()
    if EVERYBODY not in provider.domains and provider.domains and domain not in provider.domains:
        raise NotAdmitted("Your e-mail address is of a domain that may not sign in here. Take another account there.")


def _say_no_groups(provider: Provider) -> None:
    """Refuses where a group is needed; where it only gives a role, that is the one of somebody in no group."""
    said = (
        f"{provider.host} tells no groups (claim {provider.groups_claim!r}). An admin of this server can ask for "
        "another scope or claim: GRADWATCH_OIDC_SCOPES, GRADWATCH_OIDC_GROUPS_CLAIM."
    )
    if provider.groups:
        raise NotAdmitted(said)
    log.warning("%s Whoever signs in has the role %s.", said, provider.role or "none")


def _groups(found: Any) -> set[str]:
    listed = found if isinstance(found, list) else [found]
    return {one for one in listed if isinstance(one, str)}


def _name(provider: Provider, claims: Mapping[str, Any]) -> str:
    called = claims.get(provider.name_claim)
    try:
        return checked_name(called if isinstance(called, str) else "")
    except WrongAccount:
        raise NotAdmitted(
            f"The claim {provider.name_claim!r} holds nothing that a person can be called here: 1 to 64 letters from a "
            "to z, digits and . _ - @ +. GRADWATCH_OIDC_NAME_CLAIM of this server can name another one."
        ) from None


def _role(provider: Provider, groups: set[str]) -> Role | None:
    found = [role for group, role in provider.roles if group in groups]
    return max(found, key=_ORDER.index, default=provider.role)
