"""Mail that waits for somebody: quarantined or moderated mail, and challenges to prove that one is human."""

from typing import Final

from worker import vocabulary
from worker.detect import address, report
from worker.detect.notice import Notice
from worker.detect.plain import own_addresses
from worker.domain import Action, DeliveryReport, Kind, RecipientReport, address_key
from worker.phrases import Phrases, Wordings

NAME: Final = "held"
HELD: Final = Wordings(
    r"(?:is|was|has been|have been|being) (?:held|quarantined|placed in quarantine"
    r"|put in quarantine)\b(?! (?:by|for) (?:you|us) account)"
    r"|(?:is|are) being held until|awaits? (?:moderator|administrator|approval)|awaiting (?:moderat|approval)"
    r"|held for (?:approval|review|moderat)"
    r"|moderator(?:s)? (?:approval|must approve|will review)|pending (?:moderation|approval|review by)"
    r"|message is on hold|put on hold",
    needs=("held", "hold", "quarantine", "moderat", "await", "pending"),
)
HELD_ABROAD: Final = Phrases(vocabulary.ALL.held)
CHALLENGE: Final = Wordings(
    r"(?:confirm|prove|verify|show) (?:that )?you(?:'re| are) (?:a |not a )?(?:human|real|person|legitimate"
    r"|robot|spam)|challenge[/-]response"
    r"|(?:one[- ]time|sender) (?:verification|confirmation|authentication) (?:request|required|process"
    r"|is required)|click (?:on )?(?:the )?(?:link|here|below)"
    r"[^.]{0,80}(?:to be added|deliver(?:ed)? (?:your|the|this)|approved sender|allowed sender|guest list"
    r"|verify your(?:self)?)|request to be added to"
    r"[^.]{0,40}(?:list|contacts)|(?:added to|not (?:yet )?on) (?:my|the recipient'?s|his|her|their) (?:allow"
    r"|white|approved|guest|safe)"
    r"|reply to this (?:message|e-?mail|confirmation)[^.]{0,80}(?:so that|to (?:have|release|confirm|prove"
    r"|deliver))|spamarrest|tmda|boxbe|spam ?blocker"
    r"|requires (?:that you )?(?:verify|confirm|verification|confirmation)|earthlink\.net/.{0,40}challenge"
    r"|active spam killer|mailblocks",
    needs=(
        "confirm", "prove you", "prove that you", "verif", "show you", "show that you", "challenge", "authentication ",
        "click", "added to", "not on ", "not yet on ", "reply to this ", "spamarrest", "tmda", "boxbe", "spamblocker",
        "spam blocker", "spam killer", "mailblocks",
    ),
)  # fmt: skip
REFUSED: Final = Wordings(
    r"\b[45]\d\d[ -][45]\.\d+\.\d+|(?:could|can) ?not be delivered|undeliver|permanent(?:ly)? (?:error|fail)"
    r"|user unknown|delivery .{0,20}fail"
)
HEAD: Final = 4_000  # the announcement stands at the beginning


def detect_challenge(notice: Notice) -> DeliveryReport | None:
    """See `Detector`. Boxbe dresses its challenge as a delivery status notification, so this is asked first."""
    if not (notice.is_report or notice.is_system_mail or notice.is_automatic or notice.answers_automatically):
        return None
    words = f"{notice.subject}\n{notice.prose[:HEAD]}"
    if not CHALLENGE.within(words) or REFUSED.within(words):
        return None
    return report.build(notice, Kind.CHALLENGE, "challenge")


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`. Only automatic mail holds mail; what says that delivery failed has failed."""
    if not (notice.is_system_mail or notice.is_automatic or notice.answers_automatically):
        return None
    words = f"{notice.subject}\n{notice.prose[:HEAD]}"
    told = HELD.within(words) or HELD_ABROAD.within(notice.opening)
    if not told or REFUSED.within(words):
        return None
    return report.build(notice, Kind.HELD, NAME, _recipient(notice))


def _recipient(notice: Notice) -> tuple[RecipientReport, ...]:
    """Return whom the mail was for, where the notice names one person besides its own sender and reader."""
    own = own_addresses(notice)
    named = [a for a in address.every(notice.prose[:HEAD]) if address_key(a) not in own]
    return (RecipientReport(final_recipient=named[0], action=Action.DELAYED),) if len(named) == 1 else ()
