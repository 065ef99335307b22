"""E-mail: plain text that a real server takes, its password never on an open line."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from server.alerts import mail
from server.alerts.errors import NotSent, Refused
from server.alerts.mail import MailServer
from tests.server.alerts.kit import BASE, NOW_S, due, mailbox, trusting

SENDER = "gradwatch@lab.example"


def send(url: str, sender: str = SENDER, **more: Any) -> None:
    mail.send(due("mail", "ada@lab.example, bob@lab.example", **more), MailServer(url, sender), BASE, NOW_S, trusting)


def test_a_mail_is_plain_text_with_everything_in_it() -> None:
    with mailbox() as box:
        send(f"smtp://127.0.0.1:{box.port}")
    ((sender, receivers, message),) = box.mails
    assert sender.startswith(f"mail FROM:<{SENDER}>")
    assert [line.upper() for line in receivers] == ["RCPT TO:<ADA@LAB.EXAMPLE>", "RCPT TO:<BOB@LAB.EXAMPLE>"]
    assert message["Subject"] == "[vision] Error in night: dead-relu (GW308)"
    assert message["Message-ID"] == "<0123abcd@lab.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    text = message.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert "What to try first: Lower the learning rate." in text
    assert "Steps: 1,000 to 2,000" in text
    assert f"{BASE}/runs/run-1#finding-4" in text


def test_no_name_makes_a_header_of_its_own() -> None:
    evil = "x\r\nBcc: eve@evil.example\r\n\r\n<b>hello</b>"
    with mailbox() as box:
        send(f"smtp://127.0.0.1:{box.port}", run=evil, project=evil, name=evil, message="ü\n.\nQUIT")
    ((_, receivers, message),) = box.mails
    assert len(receivers) == 2
    assert "Bcc" not in message
    assert "Bcc: eve@evil.example <b>hello</b>" in str(message["Subject"])


def test_the_password_goes_over_tls_alone() -> None:
    with mailbox("STARTTLS", "AUTH PLAIN LOGIN") as box:
        send(f"smtp://ada:pass%40word@localhost:{box.port}")
        verbs = [command.partition(" ")[0].upper() for command in box.commands]
        assert verbs.index("STARTTLS") < verbs.index("AUTH")
        assert len(box.mails) == 1
    with mailbox("AUTH PLAIN LOGIN") as box:
        with pytest.raises(Refused, match="a password is not sent over an open line"):
            send(f"smtp://ada:password@localhost:{box.port}")
        assert not any("AUTH" in command for command in box.commands)
    with mailbox("AUTH PLAIN LOGIN", secure=True) as box:
        send(f"smtps://ada:password@localhost:{box.port}")
        assert len(box.mails) == 1


def test_a_password_that_cannot_be_sent_is_told() -> None:
    with mailbox("AUTH PLAIN LOGIN", secure=True) as box:
        with pytest.raises(Refused, match="a letter outside ASCII"):
            send(f"smtps://ada:gr%C3%BCn@localhost:{box.port}")
        assert box.mails == []


def test_the_certificate_of_the_mail_server_is_checked() -> None:
    with mailbox(secure=True) as box, pytest.raises(NotSent, match="The certificate of the mail server was not"):
        send(f"smtps://127.0.0.1:{box.port}")


@pytest.mark.parametrize(
    ("command", "answer", "again", "sentence"),
    [
        ("MAIL", "451 later", True, "The mail server answered 451"),
        ("MAIL", "550 no", False, "The mail server answered 550"),
        ("RCPT", "450 greylisted", True, "The mail server takes no mail for that address (450)"),
        ("RCPT", "550 nobody", False, "The mail server takes no mail for that address (550)"),
        ("GREETING", "421 too many", True, "The mail server answered 421"),
    ],
)
def test_an_answer_says_whether_it_is_tried_again(command: str, answer: str, again: bool, sentence: str) -> None:
    with mailbox() as box:
        box.says[command] = answer
        with pytest.raises(NotSent) as caught:
            send(f"smtp://127.0.0.1:{box.port}")
    assert str(caught.value) == sentence
    assert isinstance(caught.value, Refused) is not again


def test_a_server_that_takes_the_mail_and_no_leave_has_it() -> None:
    with mailbox() as box:
        box.says["QUIT"] = "500 what"
        send(f"smtp://127.0.0.1:{box.port}")
        assert len(box.mails) == 1


def test_without_a_mail_server_that_is_said() -> None:
    with pytest.raises(Refused, match="GRADWATCH_SMTP_URL and GRADWATCH_MAIL_FROM"):
        send("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NotSent, match=r"The mail server cannot be reached \(ConnectionRefusedError\)"):
            send(f"smtp://127.0.0.1:{taken.getsockname()[1]}")


def test_nothing_writes_the_password_out() -> None:
    assert "password" not in repr(MailServer("smtps://ada:password@host", SENDER))
