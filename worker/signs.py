"""What a message's own header says about who made it: signs that `screen` and `detect` share.

Each sign is weak alone; `screen` asks whether there is any, `detect` whether what stands in the body bears it out.
"""

import re
from typing import Final

# Names under which mail systems write, in the local part or the display name.
SYSTEM_SENDER: Final = re.compile(
    r"mailer[-_. ]?daemon|post[-_. ]?master|\bmdaemon\b|microsoftexchange[0-9a-f]{8}|mail[-_. ]?deliver"
    r"|delivery[-_. ](?:sub)?system"
    r"|mail[-_. ]?(?:router|administrator|system|subsystem)|system[-_. ]administrator"
    r"|\bbounces?(?:-notif\w*)?@|mail[-_]daemon"
    r"|internet[-_. ]mail[-_. ]delivery|delivery[-_. ]?(?:status|notification|report)|^\W*(?:administrator"
    r"|sysadmin)\b"
    r"|\bmail-?admin\b|non-?delivery|undeliver|exim@|\bsmtp(?:d|-daemon|-gateway)\b",
    re.IGNORECASE,
)

# Subjects of notices. Sources: the notices of the mail systems named in tests/corpus and the vendors' manuals.
NOTICE_SUBJECT: Final = re.compile(
    r"undeliver(?:ed|able|y)|non[- ]?deliver|not (?:be )?deliver|deliver(?:y|ed)? (?:status|fail|notif|problem"
    r"|report|error|has|delay"
    r"|warning|incomplete)|delayed|(?:mail|message|sending|permanent|transient|delivery).{0,30}(?:fail|error"
    r"|return|problem|warning|status"
    r"|delay|reject|block)|returned (?:mail|to sender)|returning (?:mail|message)|failure (?:notice|delivery)"
    r"|failed mail|fail(?:ed|ure) to deliver"
    r"|could ?n[o']?t (?:be )?(?:sen[dt]|deliver)|user unknown|unknown (?:user|recipient|address)"
    r"|mailbox (?:is )?full|over quota"
    r"|nondeliverable|processing error|^(?:auto(?:matic)? ?)?reject(?:ed)?\b|^warning\b|mail ?box unavailable"
    r"|unzustell|nicht zugestellt"
    r"|unzustellbar|zustell(?:ung|fehl|stat|benach)|non remis|non distribu|[ée]chec|impossible de (?:remettre"
    r"|distribuer|livrer)|retard"
    r"|non recapit|mancat[ao] (?:recapito|consegna)|impossibile (?:recapitare|consegnare)|no se (?:ha )?(?:pud"
    r"|pued|entreg)|no entreg"
    r"|devuelt|n[ãa]o (?:foi )?(?:entreg|poss)|falha (?:na|de|no)|onbestelbaar|niet (?:be|af)zorg"
    r"|kunne ikke lever|ikke lever"
    r"|kan (?:inte|ikke|niet) (?:lever|bezorg)|oleverbar|olevererbar|toimitus|ei voitu toimittaa|niedostarczon"
    r"|nie dostarczono|zwrot|niepowodzenie"
    r"|nedoru[čc]|nelze doru|k[ée]zbes[ií]t|teslim edile|iletileme|недоставл|не доставл|не может быть доставл"
    r"|невозможно доставить"
    r"|сообщение не|ошибка (?:доставки|при доставке)|не вдалося|μη παραδο|δεν παραδ|δεν είναι δυνατή|配信"
    r"|送信できません|不達|戻り|退信|無法(?:傳|送|投)|无法(?:传|送|投)"
    r"|传递失败|傳遞失敗|未送達|未送达|未传递|未傳遞|배달|전송(?:되지| 실패)|반송|系统退信",
    re.IGNORECASE,
)

ANSWERED_OR_FORWARDED: Final = re.compile(
    r"^\s*(?:re|aw|sv|antw|odp|res|rv|vs|vb|tr|fwd?|wg|i|r|rif|enc|doorst|vl|pd|ynt|ilt|回复|答复|转发|回覆"
    r"|轉寄)\s*(?:\[\d+\])?\s*[:：]\s",
    re.IGNORECASE,
)

REPORT_TYPES: Final = re.compile(r"multipart/report|report-type|message/(?:global-)?delivery-status", re.IGNORECASE)


def is_system_sender(sender: str) -> bool:
    """Whether a From value (decoded) names a mail system."""
    return sender.strip() == "<>" or SYSTEM_SENDER.search(sender) is not None


def is_notice_subject(subject: str) -> bool:
    """Whether a subject (decoded) is one that notices have; an answered or forwarded one is a person's."""
    return NOTICE_SUBJECT.search(subject) is not None and ANSWERED_OR_FORWARDED.match(subject) is None


def is_null_path(return_path: str | None) -> bool:
    """Whether the envelope's sender is empty (RFC 5321, 4.5.5), as of reports and of automatic answers."""
    return return_path is not None and return_path.strip() in ("<>", "", "<MAILER-DAEMON>", "MAILER-DAEMON")
