"""The searches that Gmail is asked for; above all the one for delivery reports, where an inbox is set to `prefilter`.

Words as Gmail's search takes them (https://support.google.com/mail/answer/7190): whole words, whatever their case, in
order where they stand in quotes; braces mean any of them. It knows neither parts of words nor most header fields, so
that what only an empty return path or the message's structure tells isn't found: `tests/connectors/test_gmail_query`
says how much of real notices is.
"""

from typing import Final

FROM: Final = (
    # Under which names mail systems write: words of the address or of the display name.
    "mailer-daemon",
    "postmaster",
    "mdaemon",
    "microsoftexchange329e71ec88ae4615bbc36ab6ce41109e",  # Exchange Online and nearly every Exchange server
    '"mail delivery"',
    '"system administrator"',
    "sns.amazonaws.com",
)

SUBJECT: Final = (
    "undeliverable",
    "undelivered",
    '"delivery status"',
    '"delivery failure"',
    '"delivery failed"',
    '"delivery has failed"',
    '"delivery problem"',
    '"delivery delayed"',
    '"message delayed"',
    '"non delivery"',
    '"not delivered"',
    '"not be delivered"',
    '"failure notice"',
    '"returned mail"',
    '"returned to sender"',
    '"user unknown"',
    '"message rejected"',
    # Other languages in the order of their codes, as far as worker/vocabulary has whole words for them.
    "nedoručitelné",
    '"kan ikke leveres"',
    '"kunne ikke leveres"',
    "unzustellbar",
    '"nicht zugestellt"',
    '"μη παραδοτέο"',
    '"δεν παραδόθηκε"',
    '"no se puede entregar"',
    '"no se pudo entregar"',
    '"ei voi toimittaa"',
    '"non remis"',
    '"échec de la remise"',
    "kézbesíthetetlen",
    '"non recapitabile"',
    '"mancata consegna"',
    "配信不能",
    '"배달되지 않음"',
    "onbestelbaar",
    "niedostarczone",
    '"nie można dostarczyć"',
    '"não é possível entregar"',
    '"não entregue"',
    '"не доставлено"',
    '"не удается доставить"',
    '"det går inte att leverera"',
    '"teslim edilemedi"',
    '"не вдалося"',
    "退信",
    "系统退信",
    "無法傳遞",
)

TERMS: Final = (*(f"from:{word}" for word in FROM), *(f"subject:{word}" for word in SUBJECT))
NOTICES: Final = f"{{{' '.join(TERMS)}}} -in:sent"
"""The search for delivery reports. Nobody's own mail is one. Gmail doesn't say how long a search may be; a filter's may
have 1,500 characters, so this one has fewer."""


def after(second: int, query: str = "") -> str:
    """Return a search that is bounded by a moment: seconds, as a date would mean midnight in California.

    Whether that very second counts is not documented, so it is asked for one more, and whoever asks drops it.
    """
    bounded = f"after:{second - 1}" if second > 1 else ""
    return f"{query} {bounded}".strip()


def between(since: int, until: int, query: str = "") -> str:
    """Return a search for a stretch of time, a second wider at both ends as in `after`."""
    return f"{after(since, query)} before:{max(1, until) + 2}".strip()
