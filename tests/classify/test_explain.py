"""Which rule fits a flow, and why."""

from columns.rules.cases import FlowText, flow_of
from columns.rules.explain import OneFlow, checks, matches
from columns.rules.model import Group, RuleBook
from columns.rules.predefined import predefined_group
from columns.rules.text import read_rules

_RULES = read_rules(
    "dns to us;udp;;;10.0.0.53;53;;true\n"
    "routers;;;;;;catincRouters;\n"
    "web;tcp;10.0.0.0/8;;;80,443;;false\n"
)  # fmt: skip
_RANKED = tuple(RuleBook((Group("sites", 1, _RULES), predefined_group()), "test").ranked())


def _flow(**text: object) -> OneFlow:
    return flow_of(FlowText.model_validate(text))


def test_every_rule_that_fits_in_order() -> None:
    reply = _flow(protocol="udp", srcAddress="10.0.0.53", srcPort=53, dstAddress="192.0.2.1", dstPort=4000)
    found = [(match.group.name, match.rule.name, match.reversed) for match in matches(_RANKED, reply)]
    assert found == [("sites", "dns to us", True), ("pre-defined", "domain", True), ("pre-defined", "terabase", False)]


def test_why_it_fits() -> None:
    reply = _flow(protocol=17, srcAddress="10.0.0.53", srcPort=53, dstAddress="192.0.2.1", dstPort=4000)
    assert [str(check) for check in next(matches(_RANKED, reply)).checks] == [
        "protocol udp: 17 fits",
        "dstAddress 10.0.0.53: 10.0.0.53 port 53 fits",
        "dstPort 53: 10.0.0.53 port 53 fits",
    ]


def test_why_it_does_not() -> None:
    flow = _flow(protocol="tcp", srcAddress="192.0.2.1", dstPort=443, exporterAddress="10.9.9.9", categories=["Core"])
    assert [str(check) for rule in _RULES[1:] for check in checks(rule, flow)] == [
        "exporterFilter catincRouters: 10.9.9.9 does not fit",
        "protocol tcp: 6 fits",
        "srcAddress 10.0.0.0/8: 192.0.2.1 no port does not fit",
        "dstPort 80,443: no address port 443 fits",
    ]


def test_what_is_known_of_the_exporter() -> None:
    flow = _flow(exporterAddress="10.9.9.9", categories=["Core", "Routers"])
    assert [match.rule.name for match in matches(_RANKED, flow)] == ["routers"]
    assert list(matches(_RANKED, _flow())) == []
