"""The post: letters into the run's mailboxes, live by LMTP, or by IMAP where they go to another folder."""

import imaplib
import smtplib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from tests.chaos.letters import Letter
from tests.live.mailstack import MailStack, append_all


class Post:
    """Delivers straight to Dovecot, by no proxy: what is lost must have been lost by the product."""

    def __init__(self, stack: MailStack, addresses: Mapping[tuple[str, str], str]) -> None:
        self._stack = stack
        self._addresses = addresses

    def deliver(self, letters: Iterable[Letter]) -> None:
        elsewhere: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        with smtplib.LMTP("127.0.0.1", self._stack.ports.lmtp) as lmtp:
            for letter in letters:
                address = self._addresses[letter.account, letter.inbox]
                if letter.folder == "INBOX":
                    lmtp.sendmail("", [address], letter.raw)
                else:
                    elsewhere[address, letter.folder].append(letter.raw)
        date = imaplib.Time2Internaldate(datetime.now().astimezone())
        for (address, folder), raws in elsewhere.items():
            with self._stack.imap(address) as imap:
                append_all(imap, raws, folder, date)

    def renumber(self, account: str, inbox: str, validity: int) -> None:
        """Void every UID of an inbox's first folder, as after a restore: all of it is read again."""
        self._stack.set_uid_validity(validity, user=self._addresses[account, inbox])

    def flags(self) -> list[str]:
        """Return every mark that stands at a message in a folder that is read."""
        return sorted(
            {
                mark
                for address in self._addresses.values()
                for folder in ("INBOX", "Junk")
                for mark in self._stack.flags(folder, address)
            }
        )
