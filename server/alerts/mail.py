"""E-mail as plain text, by the mail server that the administrator set. A password is never sent over an open line.

Not for: the guard of addresses: nobody but the administrator says which server is called.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from server.alerts import words
from server.alerts.errors import NotSent, Refused
from server.domain.alerts import Due

TIMEOUT_S = 5.0
PORTS = {"smtps": 465, "smtp": 587}


@dataclass(frozen=True, repr=False)
class MailServer:
    """Where mail goes, and who sends it; "" where there is none."""

    url: str
    sender: str

    def __repr__(self) -> str:
        """Names nothing: a password may be in it."""
        return "MailServer(…)"


def send(due: Due, server: MailServer, base: str, now_s: float, context: Callable[[], ssl.SSLContext]) -> None:
    """Sends the mail; raises Refused or NotSent with a sentence."""
    if not server.url or not server.sender:
        raise Refused("No mail server is set; GRADWATCH_SMTP_URL and GRADWATCH_MAIL_FROM name one and its sender")
    message = mail_for(due, server.sender, base, now_s)
    try:
        session = _opened(server.url, context)
        try:
            session.send_message(message)
            with suppress(OSError, smtplib.SMTPException):
                session.quit()  # it has the mail, however it takes leave
        finally:
            session.close()
    except smtplib.SMTPResponseException as error:
        failure = NotSent if error.smtp_code < 500 else Refused
        raise failure(f"The mail server answered {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        failure = NotSent if all(code < 500 for code in codes) else Refused
        raise failure(f"The mail server takes no mail for that address ({codes[0]})") from None
    except ssl.SSLCertVerificationError as error:
        raise NotSent(f"The certificate of the mail server was not accepted: {error.verify_message}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"The mail server cannot be reached ({type(error).__name__})") from None


def mail_for(due: Due, sender: str, base: str, now_s: float) -> EmailMessage:
    """Makes the mail."""
    message = EmailMessage(policy=SMTP)
    project = words.plain(due.news.project, words.LONGEST_NAME)
    message["From"] = sender
    message["To"] = due.channel.address
    message["Subject"] = (f"[{project}] " if project else "") + words.headline(due.news)
    message["Date"] = formatdate(now_s)
    message["Message-ID"] = f"<{due.mark}@{sender.rpartition('@')[2].strip('> ')}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(words.whole(due.news, base) + "\n")
    return message


def _opened(url: str, context: Callable[[], ssl.SSLContext]) -> smtplib.SMTP:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    if parts.scheme == "smtps":
        session: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context())
    else:
        session = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    try:
        session.ehlo_or_helo_if_needed()
        if parts.scheme == "smtp" and session.has_extn("starttls"):
            session.starttls(context=context())
        elif parts.scheme == "smtp" and parts.username:
            raise Refused("The mail server offers no STARTTLS, and a password is not sent over an open line")
        if parts.username:
            session.login(unquote(parts.username), unquote(parts.password or ""))
    except UnicodeEncodeError:
        session.close()
        raise Refused("The name or the password of the mail server has a letter outside ASCII; choose others") from None
    except BaseException:
        session.close()
        raise
    return session
