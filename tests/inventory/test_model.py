"""Sources merged by precedence."""

from inventory.model import Interface, Node, merge


def test_the_more_trusted_source_holds_and_others_fill() -> None:
    trusted = Node("lab", "r1", label="core", addresses=("10.0.0.1",), categories=("A",), interfaces=(Interface(1, "one"),))
    other = Node(
        "lab", "r1", 7, "ignored", vendor="Cisco", addresses=("10.0.0.2", "10.0.0.1"), categories=("B", "A"),
        interfaces=(Interface(1, "uno", "uplink", 10), Interface(2, "two")),
    )  # fmt: skip
    assert merge([[trusted], [other]]) == [
        Node(
            "lab", "r1", 7, "core", vendor="Cisco", addresses=("10.0.0.1", "10.0.0.2"), categories=("A", "B"),
            interfaces=(Interface(1, "one", "uplink", 10), Interface(2, "two")),
        )
    ]  # fmt: skip


def test_one_device_by_address_and_location() -> None:
    berlin, rome = (Node(label=name, location=name, addresses=("10.0.0.1",)) for name in ("Berlin", "Rome"))
    assert merge([[berlin, rome]]) == [berlin, rome]
    polled = Node(vendor="Juniper", location="Rome", addresses=("::ffff:10.0.0.1",))
    assert [node.vendor for node in merge([[berlin, rome], [polled]])] == [None, "Juniper"]


def test_without_a_location_it_is_found_anywhere() -> None:
    (node,) = merge([[Node(label="a", location="Berlin", addresses=("10.0.0.1",))], [Node(vendor="X", addresses=("10.0.0.1",))]])
    assert (node.label, node.vendor, node.location) == ("a", "X", "Berlin")
    (node,) = merge([[Node(label="a", addresses=("10.0.0.1",))], [Node(vendor="X", location="Berlin", addresses=("10.0.0.1",))]])
    assert (node.label, node.vendor, node.location) == ("a", "X", "Berlin")


def test_a_source_does_not_tell_of_one_device_under_two_ids() -> None:
    first, second = (Node("lab", name, addresses=("10.0.0.1", address)) for name, address in (("a", "10.0.0.2"), ("b", "10.0.0.3")))
    assert merge([[first, second]]) == [first, second]
    assert len(merge([[first], [Node("netbox", "9", addresses=("10.0.0.2",))]])) == 1
