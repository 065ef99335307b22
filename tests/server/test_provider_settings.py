"""The settings of sign-in with OpenID Connect: what they make, and the sentence for each that is wrong."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.config import Settings, SettingsError, add_arguments
from server.domain.accounts import Role
from server.domain.providers import Provider
from server.web.security import refuse_lost_way_back
from tests.serving import ROOT

LEAST = {
    "GRADWATCH_OIDC_ISSUER": "https://login.lab.example/realms/lab",
    "GRADWATCH_OIDC_CLIENT_ID": "gradwatch",
    "GRADWATCH_OIDC_DOMAINS": "lab.example",
}


def read(arguments: dict[str, str] | None = None, **environment: str) -> Settings:
    return Settings.read(arguments or {}, LEAST | environment)


def test_without_an_issuer_there_is_no_provider() -> None:
    settings = Settings.read({}, {})
    assert (settings.provider, settings.passwords) == (None, True)


def test_three_settings_are_enough() -> None:
    assert read().provider == Provider(
        issuer="https://login.lab.example/realms/lab", client_id="gradwatch", domains=("lab.example",)
    )
    assert read().passwords


def test_every_setting_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("7f3a + more\n")
    arguments = {
        "oidc_client_secret_file": str(tmp_path / "secret"),
        "oidc_domains": "@Lab.example, dept.lab.example",
        "oidc_groups": "lab, ml",
        "oidc_role": "editor",
        "oidc_roles": "cn=leads=admin,ml=viewer",
        "oidc_name_claim": "preferred_username",
        "oidc_groups_claim": "roles",
        "oidc_scopes": "openid  groups",
        "passwords": "no",
    }
    settings = read(arguments)
    assert settings.provider == Provider(
        issuer=LEAST["GRADWATCH_OIDC_ISSUER"],
        client_id="gradwatch",
        secret="7f3a + more",
        name_claim="preferred_username",
        groups_claim="roles",
        scopes=("openid", "groups"),
        domains=("lab.example", "dept.lab.example"),
        groups=("lab", "ml"),
        role=Role.EDITOR,
        roles=(("cn=leads", Role.ADMIN), ("ml", Role.VIEWER)),
    )
    assert not settings.passwords


def test_the_secret_is_no_option_and_in_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert "--oidc-client-secret-file" in parser.format_help()
    assert "--oidc-client-secret " not in parser.format_help()
    settings = read(GRADWATCH_OIDC_CLIENT_SECRET="7f3a-secret")
    assert settings.provider is not None
    assert settings.provider.secret == "7f3a-secret"
    assert "7f3a" not in repr(settings)
    (tmp_path / "secret").write_bytes(b"7f3a\nsecret")
    with pytest.raises(SettingsError) as caught:
        read({"oidc_client_secret_file": str(tmp_path / "secret")})
    assert "7f3a" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"GRADWATCH_OIDC_ISSUER": ""},
            "GRADWATCH_OIDC_CLIENT_ID is set without an issuer. Mend it: set GRADWATCH_OIDC_ISSUER (--oidc-issuer)",
        ),
        (
            {"GRADWATCH_OIDC_CLIENT_ID": ""},
            "GRADWATCH_OIDC_CLIENT_ID (--oidc-client-id) is missing: what the provider calls us",
        ),
        (
            {"GRADWATCH_OIDC_DOMAINS": ""},
            (
                "Nobody of login.lab.example may sign in yet. Mend it: set GRADWATCH_OIDC_DOMAINS to the domains of "
                "their e-mail addresses (* lets in everybody of the provider), or GRADWATCH_OIDC_GROUPS"
            ),
        ),
        (
            {"GRADWATCH_OIDC_ISSUER": "http://login.lab.example"},
            "GRADWATCH_OIDC_ISSUER is 'http://login.lab.example': https is needed; http is taken on this machine alone",
        ),
        (
            {"GRADWATCH_OIDC_ISSUER": "login.lab.example"},
            (
                "GRADWATCH_OIDC_ISSUER is 'login.lab.example': an address is needed, such as "
                "https://login.lab.example/realms/lab"
            ),
        ),
        (
            {"GRADWATCH_OIDC_DOMAINS": "lab"},
            "GRADWATCH_OIDC_DOMAINS holds 'lab': domains are needed, such as lab.example, or *",
        ),
        (
            {"GRADWATCH_OIDC_ROLE": "root"},
            "GRADWATCH_OIDC_ROLE is 'root': viewer, editor, admin are the roles, and none",
        ),
        ({"GRADWATCH_OIDC_ROLES": "ml=root"}, "GRADWATCH_OIDC_ROLES is 'root': viewer, editor, admin are the roles"),
        (
            {"GRADWATCH_OIDC_ROLES": "ml"},
            "GRADWATCH_OIDC_ROLES holds 'ml': pairs are needed, such as ml-leads=admin",
        ),
        (
            {"GRADWATCH_OIDC_SCOPES": "email"},
            "GRADWATCH_OIDC_SCOPES is 'email': names with spaces between are needed, openid among them",
        ),
        (
            {"GRADWATCH_OIDC_CLIENT_SECRET_FILE": "/no/such/file"},
            "GRADWATCH_OIDC_CLIENT_SECRET_FILE: /no/such/file cannot be read: No such file or directory",
        ),
        (
            {"GRADWATCH_OIDC_CLIENT_SECRET_FILE": "/x", "GRADWATCH_OIDC_CLIENT_SECRET": "y"},
            "GRADWATCH_OIDC_CLIENT_SECRET and GRADWATCH_OIDC_CLIENT_SECRET_FILE are both set: one of them is enough",
        ),
        ({"GRADWATCH_PASSWORDS": "off"}, "GRADWATCH_PASSWORDS is 'off': yes or no is needed"),
        (
            {"GRADWATCH_HOST": "0.0.0.0"},
            (
                "GRADWATCH_PUBLIC_URL is missing: login.lab.example sends people back to the address that it holds, "
                "such as https://gradwatch.lab.example"
            ),
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**environment)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "issuer",
    ["https://", "https://a:b@login.example", "https://login.example?x=1", "https://login.example/#x", "https://[::1",
     "https://login.example:x", "file:///etc/passwd", "https://login.example/a b", "//login.example"],
)  # fmt: skip
def test_what_is_no_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(SettingsError, match="an address is needed"):
        read(GRADWATCH_OIDC_ISSUER=issuer)


def test_passwords_stay_where_nobody_could_sign_in_otherwise() -> None:
    with pytest.raises(SettingsError, match="nobody could sign in another way: set GRADWATCH_OIDC_ISSUER too"):
        Settings.read({}, {"GRADWATCH_PASSWORDS": "no"})


def test_a_server_with_a_provider_may_listen_to_others() -> None:
    read(GRADWATCH_HOST="0.0.0.0", GRADWATCH_PUBLIC_URL="https://gradwatch.lab.example").refuse_open_door()


def test_a_server_that_does_not_answer_to_its_public_name_says_so_at_the_start(tmp_path: Path) -> None:
    public = {"GRADWATCH_PUBLIC_URL": "https://gradwatch.lab.example"}
    done = subprocess.run(
        [sys.executable, "-m", "client_hook.cli", "serve", "--port", "0", "--home", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **LEAST, **public},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "gradwatch: login.lab.example would send people back to https://gradwatch.lab.example, a name that this server "
        "does not answer to. Mend it: GRADWATCH_ALLOWED_HOSTS=gradwatch.lab.example (or --allowed-hosts)"
    )
    refuse_lost_way_back(read(GRADWATCH_ALLOWED_HOSTS="gradwatch.lab.example", **public))
    refuse_lost_way_back(read(GRADWATCH_HOST="0.0.0.0", GRADWATCH_PUBLIC_URL="http://10.0.0.5:8777"))
    refuse_lost_way_back(read())
    refuse_lost_way_back(Settings.read({}, public))  # a name in alerts alone needs no answer


@pytest.mark.parametrize("package", ["httpx2", "joserfc"])
def test_a_server_without_the_extra_names_it(tmp_path: Path, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; from client_hook.cli import main; "
        f"sys.exit(main(['serve', '--port', '0', '--home', {str(tmp_path)!r}]))"
    )
    environment = {**os.environ, **LEAST}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"gradwatch: Signing in with OpenID Connect (GRADWATCH_OIDC_ISSUER) needs the package {package!r}. Mend it: "
        'pip install "gradwatch[oidc]"'
    )
