"""exchangelib's services, as far as we need them: it writes the questions and names the errors; we post and read.

Each service here answers a question once. exchangelib's own way round a request tries other server versions, waits and
asks again, and tells where a sync stands only when all of it has been read.
"""

from contextlib import suppress
from typing import Any, Final

from exchangelib import errors as ews
from exchangelib import services
from exchangelib.account import Identity
from exchangelib.credentials import DELEGATE, IMPERSONATION
from exchangelib.util import MNS, TNS
from exchangelib.version import EXCHANGE_2013_SP1, Version

from connectors._exchange_errors import NotEws
from connectors._exchange_http import Answer, ExchangeSession
from connectors._exchange_soap import parse
from connectors.settings import Access, ExchangeSettings

M: Final = f"{{{MNS}}}"
T: Final = f"{{{TNS}}}"

Element = Any
"""An lxml element: lxml ships no types."""


# The common way to read one message. A sync's own way stumbles over errors, which may come without a sync state.
_message: Final = services.common.EWSService._get_element_container  # noqa: SLF001 - exchangelib has no public one
_error: Final = services.common.EWSService._get_exception  # noqa: SLF001 - as above


class _Unknown(ews.ResponseMessageError):  # type: ignore[misc] # exchangelib ships no types
    """An error that Exchange has and exchangelib doesn't know."""


class _Protocol:
    """What services ask of exchangelib's protocol."""

    # Understood by every server since 2013 SP1, so that nobody has to find out a version.
    version = Version(EXCHANGE_2013_SP1)
    credentials = None


class Mailbox:
    """What services ask of exchangelib's account, without the protocol that an account takes from a global cache."""

    protocol = _Protocol()
    version = _Protocol.version
    default_timezone = None  # all our moments are UTC

    def __init__(self, settings: ExchangeSettings) -> None:
        self.primary_smtp_address = settings.address
        self.identity = Identity(primary_smtp_address=settings.address)
        self.access_type = IMPERSONATION if settings.access is Access.IMPERSONATION else DELEGATE


class _Once:
    """Mixed into a service: it posts a payload through our session, once, and returns its response messages."""

    ERRORS_TO_CATCH_IN_RESPONSE = (ews.ResponseMessageError,)
    WARNINGS_TO_CATCH_IN_RESPONSE = (ews.ResponseMessageError,)

    def __init__(self, session: ExchangeSession, mailbox: Mailbox) -> None:
        super().__init__(account=mailbox)  # type: ignore[call-arg] # the service's own
        self._session = session

    def ask(self: Any, payload: Element, count: int = 1) -> list[Element | ews.EWSError]:
        """Return the response messages, as many as were asked for; one that went wrong is returned as its error."""
        answers: list[Element | ews.EWSError] = self.read(self._session.post(self.question(payload)), count)
        return answers

    def question(self: Any, payload: Element) -> bytes:
        return bytes(self.wrap(content=payload, api_version=_Protocol.version.api_version))

    def read(self: Any, answer: Answer, count: int) -> list[Element | ews.EWSError]:
        body = parse(answer.body).find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
        if body is None:
            raise NotEws
        # What concerns the request as a whole is raised.
        found = [_message(self, each) for each in self._get_soap_messages(body)]
        if len(found) != count or any(each is True for each in found):
            raise NotEws
        return found

    @staticmethod
    def _get_exception(code: str, text: str, msg_xml: Element = None, rule_errors: Element = None) -> Exception:
        """Return the error for a response code; unlike exchangelib's, ErrorServerBusy then knows how long to wait."""
        error: Exception = _error(code=code, text=text or "", msg_xml=msg_xml, rule_errors=rule_errors)
        if isinstance(error, ews.ErrorServerBusy) and msg_xml is not None:
            for value in msg_xml.iter(f"{T}Value"):
                if value.get("Name") == "BackOffMilliseconds":
                    with suppress(TypeError, ValueError):
                        error.back_off = int(value.text) / 1000
        is_known = isinstance(error, ews.ResponseMessageError)
        return error if is_known else _Unknown(str(error))


class SyncFolderItems(_Once, services.SyncFolderItems):  # type: ignore[misc] # exchangelib ships no types
    pass


class FindItem(_Once, services.FindItem):  # type: ignore[misc]
    pass


class GetItem(_Once, services.GetItem):  # type: ignore[misc]
    pass


class GetFolder(_Once, services.GetFolder):  # type: ignore[misc]
    pass


class FindFolder(_Once, services.FindFolder):  # type: ignore[misc]
    pass
