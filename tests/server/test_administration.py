"""`gradwatch user` and `gradwatch token` as an administrator types them, on both databases."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from client_hook.cli import main
from server.accounts.book import Accounts, digest
from server.domain.accounts import Arrival, Role
from server.store import Store
from tests.postgres import Cluster
from tests.server.accounts.kit import quick_passwords
from tests.server.empty import name_with_tables
from tests.server.store.kit import url_in

PASSWORD = "seven green bicycles"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return url_in(tmp_path / "home that is not there yet")
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.new_database(like=name_with_tables(cluster))


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Gives a function that runs a command, with a password on standard input."""
    quick_passwords(monkeypatch)

    def one(*words: str, password: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(password and password + "\n"))
        code = main([*words, "--database", url])
        said = capsys.readouterr()
        return code, said.out, said.err

    return one


def people(url: str) -> list[tuple[str, str]]:
    store = Store.open(url)
    try:
        return [(one.name, one.role.value) for one in store.people.list()]
    finally:
        store.close()


def test_a_person_is_added_listed_changed_and_removed(run: Run, url: str) -> None:
    code, out, err = run("user", "add", "Ada", "--role", "admin", password=PASSWORD)
    assert (code, err) == (0, "")
    assert out.startswith("ada can sign in now, as admin.\nFrom now on everybody signs in, on this machine too")
    code, out, _ = run("user", "add", "eve@lab.example", password=PASSWORD)
    assert (code, out) == (0, "eve@lab.example can sign in now, as viewer.\n")
    assert people(url) == [("ada", "admin"), ("eve@lab.example", "viewer")]
    assert run("user", "role", "eve@lab.example", "editor")[0] == 0
    assert run("user", "password", "eve@lab.example", password="eleven blue umbrellas")[0] == 0
    _, out, _ = run("user", "list")
    assert re.search(r"^NAME +ROLE +SIGNS IN WITH +SINCE +LAST SIGN-IN\nada +admin +a password +\S+ \S+ +never\n", out)
    assert re.search(r"^eve@lab.example +editor ", out, re.MULTILINE)
    store = Store.open(url)
    assert Accounts(store).sign_in("eve@lab.example", "eleven blue umbrellas") is not None
    assert Accounts(store).sign_in("eve@lab.example", PASSWORD) is None
    store.close()
    assert run("user", "remove", "eve@lab.example")[:2] == (0, "eve@lab.example is removed and signed out.\n")
    code, out, _ = run("user", "remove", "ada")
    assert code == 0, "the last one of all may go"
    assert out.endswith(
        "Nobody has an account now: a server on 127.0.0.1 without a token is open to everybody on this machine.\n"
    )
    assert run("user", "list")[1] == "Nobody has an account; gradwatch user add NAME --role admin\n"


def test_a_person_gets_and_loses_projects(run: Run, url: str) -> None:
    run("user", "add", "ada", "--role", "admin", password=PASSWORD)
    code, out, err = run(
        "user", "add", "bob", "--role", "editor", "--project", "vision", "--project", "speech", password=PASSWORD
    )
    assert (code, out, err) == (0, "bob can sign in now, as editor of 'speech', editor of 'vision'.\n", "")
    assert run("user", "role", "bob", "viewer", "--project", "vision")[0] == 0
    assert "bob   editor of 'speech', viewer of 'vision'  a password" in run("user", "list")[1]
    said = "bob is viewer of 'vision' now, and signs in again.\n"
    assert run("user", "role", "bob", "none", "--project", "speech")[1] == said
    assert (
        run("user", "role", "bob", "none", "--project", "vision")[1]
        == "bob is of no project now, and signs in again.\n"
    )
    assert run("user", "role", "bob", "viewer")[1] == "bob is viewer now, and signs in again.\n"
    for words, sentence in (
        (("user", "role", "bob", "none"), "The role none takes a project away; name it with --project."),
        (("user", "role", "bob", "admin", "--project", "vision"), "An admin, a person or a token, is one of the whole"),
        (
            ("user", "role", "bob", "viewer", "--project", " "),
            "The project is ' ', expected a name of 1 to 200 characters",
        ),
        (("user", "role", "bob", "none", "--project", "x"), "'bob' has no role of its own in the project 'x'."),
        (("user", "role", "ada", "viewer", "--project", "x"), "'ada' is the only admin; make somebody else one first."),
        (("token", "add", "t", "--scope", "admin", "--project", "x"), "An admin, a person or a token, is one of the"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert sentence in err
    store = Store.open(url)
    done = [f"{deed.action}: {deed.about}" for deed in store.audit.newest(9)]
    store.close()
    assert "added a person: bob, editor of 'speech', editor of 'vision'" in done
    assert "changed a role: bob: viewer of 'vision' to of no project" in done


def test_a_token_of_projects_is_listed_with_them(run: Run) -> None:
    code, out, _ = run("token", "add", "nightly", "--project", "vision", "--project", "speech")
    assert (code, out[:3]) == (0, "gw_")
    assert re.search(r"^nightly +ingest +'speech', 'vision' +valid", run("token", "list")[1], re.MULTILINE)


def test_a_person_of_a_provider_is_listed_and_has_no_password(run: Run, url: str) -> None:
    store = Store.open(url)
    store.people.arrive(Arrival("https://login.lab.example", "1001", "ada", Role.VIEWER), who="the test")
    store.close()
    assert re.search(r"^ada +viewer +https://login.lab.example +", run("user", "list")[1], re.MULTILINE)
    code, _, err = run("user", "password", "ada", password=PASSWORD)
    assert (code, err) == (2, "gradwatch: 'ada' signs in at https://login.lab.example and has no password here.\n")
    assert run("user", "role", "ada", "admin")[0] == 0
    assert people(url) == [("ada", "admin")]


@pytest.mark.parametrize(
    ("words", "password", "sentence"),
    [
        (["user", "add", "ada"], PASSWORD, "There is a person called 'ada' already."),
        (["user", "add", "a b"], PASSWORD, "The name is 'a b', expected 1 to 64 letters from a to z"),
        (["user", "add", "eve"], "short", "The password has 5 characters; at least 12 are needed."),
        (["user", "add", "eve"], "", "The password has 0 characters; at least 12 are needed."),
        (["user", "role", "ada", "viewer"], "", "'ada' is the only admin; make somebody else one first."),
        (["user", "role", "zoe", "viewer"], "", "Nobody is called 'zoe'; there is ada, vic."),
        (["user", "remove", "ada"], "", "'ada' is the only admin; make somebody else one first."),
        (["user", "password", "zoe"], PASSWORD, "Nobody is called 'zoe'; gradwatch user list says who there is."),
        (["user", "remove", "\udcff"], "", r"Nobody is called '\udcff'."),
        (["user", "role", "a\0b", "viewer"], "", r"Nobody is called 'a\x00b'."),
        (
            ["user", "password", "\udcff"],
            PASSWORD,
            r"Nobody is called '\udcff'; gradwatch user list says who there is.",
        ),
        (["token", "revoke", "a\0b\udcff"], "", r"No token is called 'a\x00b\udcff'."),
        (["token", "revoke", "zoe"], "", "No token is called 'zoe'; there is none yet."),
        (["token", "add", " "], "", "The token's name is '', expected 1 to 100 characters in one line"),
        (["token", "add", "x", "--days", "0"], "", "Days: got 0, expected more than 0 and at most 3650."),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    run: Run, url: str, words: list[str], password: str, sentence: str
) -> None:
    run("user", "add", "ada", "--role", "admin", password=PASSWORD)
    run("user", "add", "vic", password=PASSWORD)
    code, out, err = run(*words, password=password)
    assert (code, out) == (2, "")
    assert err.startswith(f"gradwatch: {sentence}")
    assert people(url) == [("ada", "admin"), ("vic", "viewer")]


def test_the_first_person_has_to_be_an_admin(run: Run, url: str) -> None:
    code, _, err = run("user", "add", "vic", password=PASSWORD)
    assert (code, err) == (2, "gradwatch: The first person must be an admin: nobody else could add the others.\n")
    assert people(url) == []


def test_a_token_is_printed_once_alone_on_stdout_and_kept_as_a_hash(run: Run, url: str) -> None:
    code, out, err = run("token", "add", "nightly trainings")
    assert code == 0
    assert re.fullmatch(r"gw_[A-Za-z0-9_-]{43}\n", out)
    assert "the only time that the token is shown" in err
    store = Store.open(url)
    assert store.tokens.find(digest(out.strip())) is not None
    store.close()
    _, listed, _ = run("token", "list")
    assert out.strip() not in listed
    assert re.search(r"\nnightly trainings +ingest +all +valid +the command line +\S+ \S+ +no end +never\n", listed)
    code, _, err = run("token", "add", "nightly trainings")
    assert code == 2
    assert "There is a token called 'nightly trainings' already; revoke it, or choose another name." in err
    code, said, _ = run("token", "revoke", "nightly trainings")
    assert (code, said) == (0, "The token 'nightly trainings' opens nothing any more.\n")
    assert run("token", "add", "nightly trainings", "--scope", "write", "--days", "30")[0] == 0
    _, listed, _ = run("token", "list")
    assert re.search(r"write +all +valid .*\n.*ingest +all +revoked ", listed)


def test_a_scope_that_is_none_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["token", "add", "trainings", "--scope", "all"])
    assert "invalid choice: 'all' (choose from 'ingest', 'read', 'write', 'admin')" in capsys.readouterr().err


def test_tokens_of_somebody_who_is_removed_are_named(run: Run, url: str) -> None:
    for name in ("ada", "eve"):
        run("user", "add", name, "--role", "admin", password=PASSWORD)
    store = Store.open(url)
    Accounts(store).add_token("eves own", "read", None, who="eve")
    store.close()
    assert run("user", "remove", "eve")[1] == (
        "eve is removed and signed out.\n"
        "Tokens that eve made go on: 'eves own'; gradwatch token revoke NAME ends one.\n"
    )  # fmt: skip


@pytest.mark.parametrize("command", ["user", "token"])
def test_each_says_what_it_can_do(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 2
    assert main([command, "--help"]) == 0
    assert f"usage: gradwatch {command} ACTION" in capsys.readouterr().out
    assert main([command, "zap"]) == 2
    assert capsys.readouterr().err.startswith(
        f"gradwatch: {command} zap: there is no such action; there is add, list, "
    )


def ended(_: str) -> str:
    raise EOFError


def test_a_password_is_asked_twice_and_is_no_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick_passwords(monkeypatch)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    typed = iter([PASSWORD, "seven green bicycle", PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    command = ["user", "add", "ada", "--role", "admin", "--home", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr("getpass.getpass", ended)
        assert main(command) == 2
    assert capsys.readouterr().err == "gradwatch: No password came that can be read; nothing was changed.\n"
    assert main(command) == 2
    assert capsys.readouterr().err == "gradwatch: The two passwords differ; nothing was changed.\n"
    assert main(command) == 0


def test_while_a_server_has_the_file_its_pages_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(url_in(tmp_path))
    try:
        assert main(["token", "list", "--home", str(tmp_path)]) == 2
    finally:
        store.close()
    assert capsys.readouterr().err.endswith(
        "is in use by another Gradwatch server. Stop that one, or choose another database. Or do this on its pages "
        "Settings, People and Tokens.\n"
    )
