"""What MIB-2 values say of a device."""

import pytest

from inventory.mib import Oid, Value, node_of, vendor_of
from inventory.model import Interface

_IF: Oid = (1, 3, 6, 1, 2, 1, 2, 2, 1)
_IFX: Oid = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1)
_IP: Oid = (1, 3, 6, 1, 2, 1, 4)


def test_interfaces() -> None:
    values: dict[Oid, Value] = {
        (*_IF, 2, 1): b"GigabitEthernet0/1",
        (*_IFX, 1, 1): b"Gi0/1",
        (*_IFX, 18, 1): "Zürich uplink\0".encode(),
        (*_IF, 5, 1): 1_000_000_000,
        (*_IF, 2, 7): b"only described",
        (*_IF, 5, 7): 0xFFFF_FFFF,
        (*_IFX, 15, 7): 100_000,
        (*_IFX, 1, 9): b"\xff\xfe",
        (*_IFX, 15, 9): 0,
        (*_IFX, 18, 9): b"",
    }
    assert node_of("10.0.0.1", "Berlin", values).interfaces == (
        Interface(1, "Gi0/1", "Zürich uplink", 1_000_000_000),
        Interface(7, "only described", None, 100_000_000_000),
        Interface(9, "\ufffd\ufffd", None, None),
    )


def test_addresses_that_tell_devices_apart() -> None:
    values: dict[Oid, Value] = {
        (*_IP, 20, 1, 1, 127, 0, 0, 1): b"\x7f\0\0\1",
        (*_IP, 20, 1, 1, 10, 0, 0, 2): b"\n\0\0\2",
        (*_IP, 20, 1, 1, 10, 0, 0, 300): b"",
        (*_IP, 34, 1, 3, 2, 16, 0x20, 1, 0x0D, 0xB8, *[0] * 11, 1): 1,
        (*_IP, 34, 1, 3, 2, 16, 0xFE, 0x80, *[0] * 13, 1): 1,
        (*_IP, 34, 1, 3, 1, 4, 10, 0, 0, 255): 1,
        (*_IP, 34, 1, 3, 2, 16, 1): 1,
    }
    assert node_of("192.0.2.1", None, values).addresses == ("192.0.2.1", "10.0.0.2", "2001:db8::1")


@pytest.mark.parametrize(
    ("object_id", "vendor"),
    [
        ((1, 3, 6, 1, 4, 1, 9, 1, 1208), "Cisco"),
        ((1, 3, 6, 1, 4, 1, 2636, 1), "Juniper"),
        ((1, 3, 6, 1, 4, 1, 99_999), "enterprise 99999"),
        ((1, 3, 6, 1, 4, 1), None),
        ((1, 3, 6, 1, 2, 1), None),
        (7, None),
        (None, None),
    ],
)
def test_vendor(object_id: Value | None, vendor: str | None) -> None:
    assert vendor_of(object_id) == vendor
