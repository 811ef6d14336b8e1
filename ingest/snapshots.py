"""Snapshots of exporters' state over a restart: templates, samplers, options tables and clock offsets, as JSON.

In: the state of all exporters, or a snapshot. Out: a snapshot, or the state. Refuses to know files. Only transport session 0 (UDP)
is kept, since others end with their connection. A snapshot that is not wholly usable is refused whole.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from common.errors import InputError
from ingest.clockoffset import ClockOffset
from ingest.exporters import Domain, DomainKey, Exporter, Exporters
from ingest.options import Fact, Facts, Sampler
from ingest.templates import SPECIFIER, Field, Template, make_template

VERSION: Final = 1
_ADDRESS: Final = 16


def pack(exporters: Exporters) -> bytes:
    """A snapshot of everything that exporters send only now and then."""
    tree = {"version": VERSION, "exporters": [_pack_exporter(exporter) for exporter in exporters]}
    return json.dumps(tree, separators=(",", ":")).encode()


def unpack(data: bytes, exporters: Exporters, lane_of: Callable[[bytes], int]) -> None:
    """Bring a snapshot into force; raises InputError, and changes nothing then."""
    for item in load(data):
        exporter = exporters.get(item.address) or exporters.admit(item.address, lane_of(item.address), item.last_ms)[0]
        item.bring_into(exporters, exporter)


def load(data: bytes) -> "list[Loaded]":
    """A snapshot, wholly read; raises InputError."""
    try:
        tree = json.loads(data)
        if tree["version"] != VERSION:
            raise InputError(f"snapshot of templates has version {tree['version']}, this program reads {VERSION}")
        return [Loaded(item) for item in tree["exporters"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"snapshot of templates is not usable: {error}") from error


def split(data: bytes) -> dict[bytes, tuple[bytes, bytes]]:
    """A snapshot by exporter address: a snapshot of that exporter alone, and what changes only when its templates or tables do."""
    tree = json.loads(data)
    parts = {}
    for exporter in tree["exporters"]:
        alone = json.dumps({"version": tree["version"], "exporters": [exporter]}, separators=(",", ":")).encode()
        lasting = [{**domain, "templates": [item[:3] for item in domain["templates"]]} for domain in exporter["domains"]]
        parts[bytes.fromhex(exporter["address"])] = (alone, json.dumps(lasting).encode())
    return parts


def _pack_exporter(exporter: Exporter) -> dict[str, Any]:
    clock = exporter.clock
    return {
        "address": exporter.address.hex(),
        "last_ms": exporter.last_ms,
        "clock": [clock.minute, clock.least, clock.estimate, clock.correction],
        "domains": [_pack_domain(domain) for domain in exporter.domains.values() if domain.session == 0],
    }


def _pack_domain(domain: Domain) -> dict[str, Any]:
    facts = domain.facts
    return {
        "version": domain.version,
        "domain": domain.number,
        "templates": [_pack_template(template) for template in domain.templates],
        "default": facts.default,
        "by_id": list(facts.by_id.items()),
        "by_interface": list(facts.by_interface.items()),
        "by_exporter": [(address.hex(), sampler) for address, sampler in facts.by_exporter.items()],
        "times": [facts.active_timeout_s, facts.inactive_timeout_s, facts.boot_ms],
        "interfaces": list(facts.interfaces.items()),
        "applications": [(number.hex(), fact) for number, fact in facts.applications.items()],
        "vrfs": list(facts.vrfs.items()),
        "names": facts.names,
    }


def _pack_template(template: Template) -> list[Any]:
    scopes = template.scope_count if template.is_options else None
    return [template.id, template.spec.hex(), scopes, template.declared_ms, template.used_ms]


class Loaded:
    """One exporter of a snapshot, wholly read before anything is changed."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.address = bytes.fromhex(tree["address"])
        if len(self.address) != _ADDRESS:
            raise ValueError(f"an exporter address has {len(self.address)} octets")
        self.last_ms = int(tree["last_ms"])
        minute, least, estimate, correction = map(int, tree["clock"])
        self.clock = ClockOffset(minute, least, estimate, correction)
        self.domains = [_load_domain(item) for item in tree["domains"]]

    def bring_into(self, exporters: Exporters, exporter: Exporter) -> None:
        """Put everything into force for this exporter."""
        exporter.clock = self.clock
        for key, templates, facts in self.domains:
            domain, _ = exporters.domain(exporter, key)
            domain.facts = facts
            for template in templates:
                exporters.put_template(exporter, domain, template)
            exporters.account(exporter, domain)
        exporter.forget_views()


def _load_domain(tree: dict[str, Any]) -> tuple[DomainKey, list[Template], Facts]:
    active, inactive, boot = tree["times"]
    facts = Facts(
        default=None if tree["default"] is None else _load_sampler(tree["default"]),
        by_id={int(number): _load_sampler(item) for number, item in tree["by_id"]},
        by_interface={int(number): _load_sampler(item) for number, item in tree["by_interface"]},
        by_exporter={bytes.fromhex(address): _load_sampler(item) for address, item in tree.get("by_exporter", ())},
        active_timeout_s=active,
        inactive_timeout_s=inactive,
        boot_ms=boot,
        interfaces={int(number): Fact(*map(str, fact)) for number, fact in tree["interfaces"]},
        applications={bytes.fromhex(number): Fact(*map(str, fact)) for number, fact in tree["applications"]},
        vrfs={int(number): str(name) for number, name in tree["vrfs"]},
        names={str(kind): str(name) for kind, name in tree["names"].items()},
    )
    key = (0, int(tree["version"]), int(tree["domain"]))
    return key, [_load_template(item) for item in tree["templates"]], facts


def _load_sampler(item: list[Any]) -> Sampler:
    return Sampler(float(item[0]), int(item[1]))


def _load_template(item: list[Any]) -> Template:
    number, spec, scopes, declared_ms, used_ms = item
    octets = bytes.fromhex(spec)
    if len(octets) % SPECIFIER.size:
        raise ValueError(f"template {number} has {len(octets)} octets of fields")
    fields = [Field(*specifier) for specifier in SPECIFIER.iter_unpack(octets)]
    template = make_template(int(number), fields, scopes, int(declared_ms))
    if template is None:
        raise ValueError(f"template {number} has records without octets")
    template.used_ms = int(used_ms)
    return template
