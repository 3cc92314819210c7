"""The search by which Gmail itself looks for delivery reports, where an inbox is set to `prefilter`.

Words as Gmail's search takes them (https://support.google.com/mail/answer/7190): whole words, whatever their case, in
order where they stand in quotes; braces mean any of them. It knows neither parts of words nor most header fields, so
that what only an empty return path or the message's structure tells isn't found: see `tests/connectors/gmail_search`
for how much of real notices is.
"""

from typing import Final

FROM: Final = (
    # Under which names mail systems write; a word of the address or of the display name.
    "mailer-daemon",
    "mailerdaemon",
    "mail-daemon",
    "postmaster",
    "mdaemon",
    "microsoftexchange329e71ec88ae4615bbc36ab6ce41109e",  # every Exchange Online and most Exchange servers
    '"mail delivery"',
    '"delivery system"',
    '"mail administrator"',
    '"system administrator"',
    '"delivery status"',
    '"delivery notification"',
    '"mail router"',
    "bounce",
    "bounces",
    "mailadmin",
    "sns.amazonaws.com",
)

SUBJECT: Final = (
    # English
    "undeliverable",
    "undelivered",
    "undeliverability",
    "nondeliverable",
    "nondelivery",
    '"non delivery"',
    '"non deliverable"',
    '"not delivered"',
    '"not be delivered"',
    '"could not deliver"',
    '"could not send message"',
    '"delivery status"',
    '"delivery failure"',
    '"delivery failed"',
    '"delivery error"',
    '"delivery notification"',
    '"delivery problem"',
    '"delivery report"',
    '"delivery delayed"',
    '"delivery has failed"',
    '"delivery incomplete"',
    '"mail failure"',
    '"mail failed"',
    '"mail system error"',
    '"mail error"',
    '"mail warning"',
    '"message status"',
    '"sending failed"',
    '"failed mail"',
    '"failure notice"',
    '"failure delivery"',
    '"returned mail"',
    '"mail returned"',
    '"returned to sender"',
    '"returning message"',
    '"permanent error"',
    '"transient error"',
    '"message delayed"',
    "delayed",
    '"user unknown"',
    '"unknown user"',
    '"unknown recipient"',
    '"mailbox full"',
    '"mailbox is full"',
    '"over quota"',
    '"mailbox unavailable"',
    '"message rejected"',
    "rejected",
    # Chinese
    "退信",
    "系统退信",
    "未送达",
    "未傳遞的主旨",
    "無法傳遞",
    "无法送达",
    # Czech
    "nedoručitelné",
    "nedoručeno",
    # Danish and Norwegian
    '"kan ikke leveres"',
    '"kunne ikke leveres"',
    '"ikke leveret"',
    '"ikke levert"',
    # Dutch
    "onbestelbaar",
    '"niet bezorgd"',
    # Finnish
    '"ei voi toimittaa"',
    '"ei voitu toimittaa"',
    "toimitusvirhe",
    # French
    '"non remis"',
    '"non distribuable"',
    '"non distribué"',
    '"échec de la remise"',
    '"échec de remise"',
    '"impossible de remettre"',
    # German
    "unzustellbar",
    '"nicht zugestellt"',
    '"nicht zustellbar"',
    "zustellungsfehler",
    "übermittlungsstatus",
    # Greek
    '"μη παραδοτέο"',
    '"δεν παραδόθηκε"',
    # Hungarian
    "kézbesíthetetlen",
    # Italian
    '"non recapitabile"',
    '"mancato recapito"',
    '"mancata consegna"',
    '"impossibile recapitare"',
    # Japanese and Korean
    "配信不能",
    '"배달되지 않음"',
    # Polish
    "niedostarczone",
    "niedostarczona",
    '"nie dostarczono"',
    '"nie można dostarczyć"',
    # Portuguese
    '"não entregue"',
    '"não é possível entregar"',
    '"falha na entrega"',
    # Russian and Ukrainian
    '"не доставлено"',
    "недоставленное",
    '"не удается доставить"',
    '"ошибка доставки"',
    '"не вдалося"',
    # Spanish
    '"no se puede entregar"',
    '"no se pudo entregar"',
    '"no entregado"',
    '"error en la entrega"',
    # Swedish
    '"det går inte att leverera"',
    "olevererbar",
    # Turkish
    '"teslim edilemedi"',
    '"teslim edilemeyen"',
    "iletilemedi",
)


NOTICES: Final = (
    f"{{{' '.join([*(f'from:{word}' for word in FROM), *(f'subject:{word}' for word in SUBJECT)])}}} -in:sent"
)
"""The search for delivery reports. Nobody's own mail is one."""


def after(second: int, query: str = "") -> str:
    """Return a search that is bounded by a moment: seconds, as a date would mean midnight in California.

    Whether that very second counts is not documented, so it is asked for one more, and whoever asks drops it.
    """
    bounded = f"after:{second - 1}" if second > 1 else ""
    return f"{query} {bounded}".strip()


def between(since: int, until: int, query: str = "") -> str:
    """Return a search for a stretch of time, a second wider at both ends as in `after`."""
    return f"{after(since, query)} before:{max(1, until) + 2}".strip()
