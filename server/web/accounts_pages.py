"""The pages of people, tokens and one's own account: plain forms, so that they work without scripts.

Not for: what is checked (server.accounts), and who may open them (access).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from server.accounts.powers import Caller
from server.domain.accounts import Person, Token, role_text
from server.errors import WrongAccount
from server.web.auth import Door, address_of
from server.web.caller import Asking, who_is
from server.web.contexts import accounts
from server.web.services import Parts, Services
from server.web.templating import render
from server.web.throttle import throttled

MAX_FORM_BYTES = 16 * 1024
MOST_FIELDS = 20
NO_PASSWORDS = "Passwords are switched off here (GRADWATCH_PASSWORDS): people sign in with their provider."

PEOPLE, TOKENS, ACCOUNT = "/settings/people", "/settings/tokens", "/settings/account"


async def form_of(request: Request) -> dict[str, str]:
    """Reads the fields of a form as they are: a password may have spaces around it."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise HTTPException(422, f"The form has more than {MOST_FIELDS} fields") from None


Form = Annotated[dict[str, str], Depends(form_of)]


def router_for(door: Door) -> APIRouter:
    """Makes the routes; one's own password is guessed no quicker here than at the sign-in form."""
    router = APIRouter(include_in_schema=False)

    @router.get(PEOPLE)
    def people_page(request: Request, parts: Parts, caller: Asking) -> Response:
        """Lists people, with what was done last."""
        return _people(request, parts, caller)

    @router.post(PEOPLE, max_body_size=MAX_FORM_BYTES)
    def add_person(request: Request, parts: Parts, caller: Asking, form: Form) -> Response:
        """Lets somebody sign in."""
        try:
            name, role, project = (form.get(field, "") for field in ("name", "role", "project"))
            added(parts, name, role, form.get("password", ""), caller, {project: role} if project.strip() else None)
        except WrongAccount as error:
            return _people(request, parts, caller, problem=str(error), draft=form, status=422)
        return RedirectResponse(PEOPLE, 303)

    @router.post(PEOPLE + "/{name}/role", max_body_size=MAX_FORM_BYTES)
    def change_role(request: Request, name: str, parts: Parts, caller: Asking, form: Form) -> Response:
        """Gives somebody another role: of the whole server, or of one project, which is taken away by none."""
        role, project, who = form.get("role", ""), form.get("project"), who_is(caller)

        def change() -> None:
            if project is None:
                parts.accounts.set_role(name, role, who=who)
            else:
                parts.accounts.set_project(name, project, None if role == accounts.NONE else role, who=who)

        return _changed(request, parts, caller, change)

    @router.post(PEOPLE + "/{name}/password", max_body_size=MAX_FORM_BYTES)
    def change_password(request: Request, name: str, parts: Parts, caller: Asking, form: Form) -> Response:
        """Gives somebody another password."""
        return _changed(
            request,
            parts,
            caller,
            lambda: parts.accounts.set_password(name, form.get("password", ""), who=who_is(caller)),
        )

    @router.post(PEOPLE + "/{name}/remove", max_body_size=MAX_FORM_BYTES)
    def remove_person(request: Request, name: str, parts: Parts, caller: Asking) -> Response:
        """Removes somebody; tokens of theirs are named, because trainings may be using them."""
        try:
            left = removed(parts, name, caller)
        except WrongAccount as error:
            return _people(request, parts, caller, problem=str(error), status=422)
        if not left or (caller.person and caller.person.name == name):
            return RedirectResponse(PEOPLE, 303)
        names = ", ".join(repr(token.name) for token in left)
        notice = f"{name} is removed. Tokens made by {name} go on until they are revoked: {names}."
        return _people(request, parts, caller, notice=notice)

    @router.get(TOKENS)
    def tokens_page(request: Request, parts: Parts) -> Response:
        """Lists tokens."""
        return _tokens(request, parts)

    @router.post(TOKENS, max_body_size=MAX_FORM_BYTES)
    def add_token(request: Request, parts: Parts, caller: Asking, form: Form) -> Response:
        """Makes a token and shows it, this once."""
        try:
            days = _days(form.get("days", "").strip())
            projects = [line for line in form.get("projects", "").splitlines() if line.strip()] or None
            name, scope = form.get("name", ""), form.get("scope", "")
            made = parts.accounts.add_token(name, scope, days, projects, who=who_is(caller))
        except WrongAccount as error:
            return _tokens(request, parts, problem=str(error), draft=form, status=422)
        return _tokens(request, parts, made=made)

    @router.post(TOKENS + "/revoke", max_body_size=MAX_FORM_BYTES)
    def revoke_token(request: Request, parts: Parts, caller: Asking, form: Form) -> Response:
        """Ends a token at once."""
        try:
            parts.accounts.revoke_token(form.get("name", ""), who=who_is(caller))
        except WrongAccount as error:
            return _tokens(request, parts, problem=str(error), status=422)
        return RedirectResponse(TOKENS, 303)

    @router.get(ACCOUNT)
    def account_page(request: Request, caller: Asking) -> Response:
        """Shows who one is here."""
        return _account(request, caller)

    @router.post(ACCOUNT, max_body_size=MAX_FORM_BYTES)
    def change_own_password(request: Request, parts: Parts, caller: Asking, form: Form) -> Response:
        """Changes one's own password; every session ends, and this browser gets a new one."""
        if caller.person is None:
            raise HTTPException(403, "Not allowed: a password belongs to a person; sign in by name")
        wait = max(door.names.wait_s(caller.name), door.throttle.wait_s(address_of(request.scope)))
        if wait:
            said = throttled(wait, "passwords were tried for this name or")
            answer = _account(request, caller, problem=said, status=429)
            answer.headers["Retry-After"] = str(wait)
            return answer
        old, new = form.get("old", ""), form.get("new", "")
        try:
            if new != form.get("again", ""):
                raise WrongAccount("The two new passwords differ; nothing was changed.")
            parts.accounts.change_password(
                caller.person, old, new, when_wrong=lambda: door.names.failed(caller.name, old)
            )
        except WrongAccount as error:
            return _account(request, caller, problem=str(error), status=422)
        return _signed_in_again(request, parts, caller.person, new)

    def _signed_in_again(request: Request, parts: Services, person: Person, password: str) -> Response:
        found = parts.accounts.sign_in(person.name, password)
        key = door.sessions.open(*found) if found else None
        answer = RedirectResponse("/settings/account?changed=1" if key else "/sign-in", 303)
        if key:
            door.keep_signed_in(request, answer, key)
        return answer

    return router


def added(
    parts: Services,
    name: str,
    role: str,
    password: str,
    caller: Caller,
    projects: Mapping[str, str] | None = None,
) -> str:
    """Adds a person with a password, and gives the name as it is kept; raises WrongAccount."""
    if not parts.settings.passwords:
        raise WrongAccount(NO_PASSWORDS)
    return parts.accounts.add_person(name, role, password, projects, who=who_is(caller))


def removed(parts: Services, name: str, caller: Caller) -> list[Token]:
    """Removes a person, and gives the tokens that this person leaves; raises WrongAccount, for the only person too."""
    settings = parts.settings
    if len(parts.store.people.list()) == 1 and settings.token is None and settings.provider is None:
        raise WrongAccount(
            f"{name[:64]!r} is the only person; add somebody else first, or use `gradwatch user remove`."
        )
    return parts.accounts.remove_person(name, who=who_is(caller))


def _changed(request: Request, parts: Services, caller: Caller, change: Callable[[], None]) -> Response:
    """Makes a change and leads back to the list, or shows there why it was not made."""
    try:
        change()
    except WrongAccount as error:
        return _people(request, parts, caller, problem=str(error), status=422)
    return RedirectResponse(PEOPLE, 303)


def _people(
    request: Request,
    parts: Services,
    caller: Caller,
    *,
    problem: str = "",
    notice: str = "",
    draft: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    people, deeds = parts.store.people.list(), parts.store.audit.newest(accounts.DEEDS)
    view = accounts.people_view(
        people,
        deeds,
        caller,
        parts.store.runs.projects(sight=caller.sight()),
        provider=parts.settings.provider,
        passwords=parts.settings.passwords,
        problem=problem,
        notice=notice,
        draft=draft,
    )
    return render(request, "pages/people.html", view, section="settings", status=status)


def _tokens(
    request: Request,
    parts: Services,
    *,
    problem: str = "",
    made: str = "",
    draft: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    view = accounts.tokens_view(
        parts.store.tokens.list(), parts.store.now_ms(), problem=problem, made=made, draft=draft
    )
    return render(request, "pages/tokens.html", view, section="settings", status=status)


def _account(request: Request, caller: Caller, *, problem: str = "", status: int = 200) -> Response:
    person = caller.person
    changed = bool(request.query_params.get("changed")) and request.method == "GET"
    view = accounts.AccountView(
        name=person.name if person else "",
        role=role_text(person.role, person.projects) if person else "",
        problem=problem,
        changed=changed,
        provider=accounts.provider_of(person) if person else "",
    )
    return render(request, "pages/account.html", view, section="settings", status=status)


def _days(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise WrongAccount(f"Days: got {text[:50]!r}, expected a number.") from None
