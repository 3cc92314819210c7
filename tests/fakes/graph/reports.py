"""What Exchange makes of a delivery report: it keeps properties and writes the report anew (MS-OXCMAIL, 2.2.3.7.1).

Parts of a Status above 9 become 0, the Diagnostic-Code becomes X-Supplementary-Info, and recipients whose Action isn't
the worst are gone. What `$value` really writes was never captured; this is the loss that the document allows.
"""

import re

_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_ORDER = ("failed", "delayed", "relayed", "expanded", "delivered")


def lossy(raw: bytes) -> bytes:
    """Return a delivery report as Exchange gives it back; anything else as it is."""
    start = raw.find(b"Content-Type: message/delivery-status")
    if start < 0:
        return raw
    begin = raw.index(b"\r\n\r\n", start) + 4
    end = raw.find(b"\r\n--", begin)
    end = len(raw) if end < 0 else end
    written = _written_anew(raw[begin:end].decode("utf-8", "replace"))
    return raw[:begin] + written.encode() + raw[end:]


def _written_anew(status: str) -> str:
    whole, *recipients = [each for each in status.split("\r\n\r\n") if each.strip()]
    mta = _field(whole, "Reporting-MTA").partition(";")[2].strip() or "mail.example"
    worst = min((_rank(each) for each in recipients), default=0)
    kept = [_recipient(each, mta) for each in recipients if _rank(each) == worst]
    return "\r\n\r\n".join([whole, *kept]) + "\r\n"


def _rank(recipient: str) -> int:
    action = _field(recipient, "Action").lower()
    return _ORDER.index(action) if action in _ORDER else 0


def _recipient(block: str, mta: str) -> str:
    status, diagnostic = _field(block, "Status"), _field(block, "Diagnostic-Code")
    detail = re.sub(r"^smtp;\s*", "", diagnostic, flags=re.IGNORECASE)
    fields = [f"Final-Recipient: {_field(block, 'Final-Recipient')}", f"Action: {_field(block, 'Action')}"]
    fields.append(f"Status: {_STATUS.sub(_worsened, status)}")
    if kept := _field(block, "X-Supplementary-Info"):
        fields.append(f"X-Supplementary-Info: {kept}")
    elif detail:
        fields.append(f"X-Supplementary-Info: <{mta} #{status} smtp;{detail}>")
    return "\r\n".join(fields)


def _worsened(status: re.Match[str]) -> str:
    return ".".join(part if int(part) <= 9 else "0" for part in status.groups())


def _field(block: str, name: str) -> str:
    found = re.search(rf"^{name}:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", block, re.IGNORECASE | re.MULTILINE)
    return re.sub(r"\r\n[ \t]+", " ", found[1]).strip() if found else ""
