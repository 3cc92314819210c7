"""Which folders an IMAP server has, and what each is for, in whatever language it names them."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from imapclient import IMAPClient

from connectors._headers import HEADER_LIMIT, SENT_FIELDS, parse_headers
from connectors._imap_commands import header_block, listing
from connectors.base import SENT_HEADERS, SENT_LIMIT, FolderRole

MARKS: Final[Mapping[bytes, FolderRole]] = {  # RFC 6154, 2
    b"\\junk": FolderRole.JUNK,
    b"\\archive": FolderRole.ARCHIVE,
    b"\\sent": FolderRole.SENT,
}
NAMES: Final[Mapping[str, FolderRole]] = {  # of servers that mark none, or hide their marks from old clients
    name: role
    for role, names in {
        FolderRole.JUNK: (
            "junk|spam|junk e-mail|junk email|junk mail|bulk mail|bulk|"
            "spamverdacht|junk-e-mail|courrier indésirable|indésirables|correo no deseado|posta indesiderata|"
            "lixo eletrônico|lixo eletrónico|ongewenste e-mail|skräppost|søppelpost|uønsket e-post|uønsket e-mail|"
            "uønsket mail|roskaposti|wiadomości-śmieci|nevyžádaná pošta|нежелательная почта|спам|"
            "迷惑メール|垃圾邮件|垃圾郵件|정크 메일"
        ),
        FolderRole.ARCHIVE: (
            "archive|archives|archiv|archivo|archivio|arquivo|arquivo morto|archief|arkiv|arkisto|archiwum|архив|"
            "アーカイブ|存档|封存|보관"
        ),
        FolderRole.SENT: (
            "sent|sent items|sent mail|sent messages|"
            "gesendet|gesendete objekte|gesendete elemente|éléments envoyés|envoyés|messages envoyés|"
            "enviados|elementos enviados|itens enviados|posta inviata|inviata|inviati|verzonden|verzonden items|"
            "skickat|skickade objekt|sendt|sendt post|sendte elementer|lähetetyt|elementy wysłane|wysłane|"
            "odeslaná pošta|отправленные|送信済みアイテム|送信済みメール|已发送|已发送邮件|寄件備份|보낸 편지함"
        ),
    }.items()
    for name in names.split("|")
}
_SENT_FIELDS: Final = f"BODY.PEEK[HEADER.FIELDS ({' '.join(SENT_HEADERS)})]<0.{HEADER_LIMIT}>"


def by_name_or_role(chosen: str) -> str | FolderRole:
    r"""Read a folder's name as a person writes it: ``\Junk`` means the junk folder, whatever it is called."""
    if chosen.upper() in ("INBOX", r"\INBOX"):
        return "INBOX"
    return MARKS.get(chosen.lower().encode(), chosen)


def role_name(role: FolderRole) -> str:
    r"""Return how a person writes a role: ``\Junk``."""
    return f"\\{role.capitalize()}"


def roles(client: IMAPClient) -> dict[str, FolderRole | None]:
    """Return each folder's name and role; a mark counts for more than a name, and each role stands once. One LIST."""
    folders = list(listing(client))
    found: dict[str, FolderRole | None] = {name: None for _, name, _ in folders}
    taken: set[FolderRole] = set()

    def take(name: str, role: FolderRole | None) -> None:
        if role and role not in taken and found[name] is None:
            found[name] = role
            taken.add(role)

    for _, name, _ in folders:
        take(name, FolderRole.INBOX if name.upper() == "INBOX" else None)
    for attributes, name, _ in folders:
        take(name, next((MARKS[mark] for mark in attributes if mark in MARKS), None))
    for _, name, last in sorted(folders, key=lambda folder: len(folder[1]) - len(folder[2])):  # Junk before Old/Junk
        take(name, NAMES.get(last.lower()))
    return found


def folders_by_role(client: IMAPClient) -> dict[FolderRole, str]:
    return {role: name for name, role in roles(client).items() if role}


def sent_messages(client: IMAPClient, since: datetime, until: datetime) -> Iterator[tuple[int, Mapping[bytes, Any]]]:
    """Yield UID and answer of what the open folder took between two moments, newest first."""
    # Both compare dates and ignore the time zone, which may be any (RFC 3501, 6.4.4).
    day = timedelta(days=1)
    criteria = ["SINCE", (since - day).date(), "BEFORE", (until + 2 * day).date()]
    uids = sorted(client.search(criteria))[-SENT_LIMIT:]
    answers = client.fetch(uids, ["INTERNALDATE", "RFC822.SIZE", _SENT_FIELDS]) if uids else {}
    yield from sorted(answers.items(), reverse=True)


def sent_headers(answer: Mapping[bytes, Any]) -> Mapping[str, str]:
    """Return the header fields of an answer."""
    return parse_headers(header_block(answer) or b"", SENT_FIELDS)
