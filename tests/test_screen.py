import pytest

from connectors.base import Envelope, MessageRef
from worker.screen import screen


@pytest.mark.parametrize(
    ("headers", "item_class", "passes"),
    [
        (None, None, True),
        (None, "IPM.Note", False),
        (None, "REPORT.IPM.Note.NDR", True),
        ({"from": "bob@customer.test"}, "REPORT.IPM.Note.NDR", True),
        ({"from": "Bob <bob@customer.test>", "subject": "Re: Offer"}, None, False),
        ({"from": "Mail Delivery System <MAILER-DAEMON@a.test>", "subject": "x"}, None, True),
        ({"from": "=?utf-8?q?Post?= =?utf-8?q?master?= <x@a.test>", "subject": "x"}, None, True),
        ({"from": "x@a.test", "subject": "=?utf-8?B?VW56dXN0ZWxsYmFyOiBBbmdlYm90?="}, None, True),
        ({"from": "x@a.test", "subject": "Re: Undelivered Mail Returned to Sender"}, None, False),
        ({"from": "x@a.test", "return-path": "<>"}, None, True),
        ({"from": "x@a.test", "return-path": "<x@a.test>"}, None, False),
        ({"from": "x@a.test", "x-failed-recipients": "b@c.test"}, None, True),
        ({"from": "x@a.test", "x-ms-exchange-message-is-ndr": ""}, None, True),
        ({"from": "x@a.test", "content-type": "multipart/report; report-type=delivery-status"}, None, True),
    ],
)
def test_any_one_sign_is_enough(headers, item_class, passes):
    assert screen(Envelope(ref=MessageRef("1"), headers=headers, item_class=item_class)) is passes
