import pytest

from worker.suggest import suggested_address

BOB = "bob@customer.example"


@pytest.mark.parametrize(
    "text",
    [
        "551 5.1.6 User not local; please try <robert@new.example>",
        "Bob has left the company. Please write to robert@new.example instead.",
        "My address has changed: my new address is robert@new.example.",
        "bob@customer.example has moved to robert@new.example",
        "Herr Bob ist nicht mehr bei uns, seine neue Adresse ist robert@new.example",
        "Bob ma nowy adres robert@new.example.",
    ],
)
def test_a_new_address_is_suggested(text):
    assert suggested_address(text, {BOB}) == "robert@new.example"


@pytest.mark.parametrize(
    "text",
    [
        "For further assistance, please send mail to postmaster@mx.example.",
        "550 5.1.1 <bob@customer.example> User unknown",
        "The following address failed: robert@new.example. Please try again later.",
        "Please write to us instead.",
        "",
        "write to " + "a" * 100_000 + "@",
    ],
)
def test_no_address_is_made_up(text):
    assert suggested_address(text, {BOB}) is None
