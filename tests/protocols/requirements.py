"""What the standards ask of a collector, and the test that holds each; `docs/reference/protocols.md` is made of this.

    PYTHONPATH=.:proto python -m tests.protocols.requirements > docs/reference/protocols.md

Statements are in our own words. `tests` name functions of tests/protocols or of the receivers' tests in tests/ingest; a statement
without one has a `deviation` that says why.
"""

import sys
from dataclasses import dataclass
from typing import Final

from flowpb.schema import FLOW, Column, Stage
from ingest.elements import element_of
from tests.protocols.traps import TRAPS, Trap


@dataclass(frozen=True, slots=True)
class Requirement:
    """One statement of a standard that concerns a collector."""

    source: str
    section: str
    says: str
    tests: tuple[str, ...] = ()
    deviation: str = ""


def _v9(section: str, says: str, *tests: str, deviation: str = "") -> Requirement:
    return Requirement("RFC 3954 (NetFlow v9)", section, says, tests, deviation)


def _ipfix(section: str, says: str, *tests: str, deviation: str = "") -> Requirement:
    return Requirement("RFC 7011 (IPFIX protocol)", section, says, tests, deviation)


def _sflow(section: str, says: str, *tests: str, deviation: str = "") -> Requirement:
    return Requirement("sFlow version 5", section, says, tests, deviation)


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    _v9("5.1", "Sequence numbers count export packets of a source id; gaps tell of lost ones", "test_v9_counts_datagrams"),
    _v9("5.1", "Records are scoped by exporter and source id", "test_same_template_id_in_two_domains_and_two_exporters"),
    _v9("5.2, 5.3", "Set lengths bound the records; what is left is padding", "test_a_bad_set_costs_itself_and_not_its_neighbours"),
    _v9("5.2", "Several templates may be in one set, several sets in one packet", "test_full_cases_agree_in_order"),
    _v9(
        "6.1",
        "Options templates have scope fields in a number space of their own",
        "test_sampling_by_interface_is_looked_up_by_the_input_interface",
        "test_scopes_of_v9_options_have_any_length",
        "test_octets_of_v9_options_that_are_no_multiple_of_four",
    ),
    _v9("5.3, 6.2", "The id of a data set tells the template that it is read by", "test_full_cases_agree_in_order"),
    _v9("9", "Padding is accepted in data and options, in templates and options templates", "test_padding_in_every_kind_of_v9_set"),
    _v9("9", "There may be any number of template sets in a packet", "test_a_redefined_template_holds_from_its_place_on"),
    _v9("8", "Field types that are not known are skipped by their length", "test_unknown_elements_are_counted_once_per_template"),
    _v9(
        "9",
        "Data and its template need not be in the same packet",
        "test_a_withdrawn_v9_template_is_gone",
        "test_source_port_is_not_part_of_any_key",
    ),
    _v9(
        "9",
        "Data before its template is kept for a while",
        "test_data_before_its_template_is_parked_and_replayed_with_its_own_header",
    ),
    _v9(
        "7",
        "Templates are kept for the packets that follow",
        "test_a_withdrawn_v9_template_is_gone",
        "test_full_cases_agree_in_order",
    ),
    _v9("5.2, 5.3", "Flow set ids 2 to 255 are reserved", "test_reserved_sets_are_left_out_and_located"),
    _v9(
        "9", "Data is not decoded with a template that has expired; those not refreshed expire", "test_templates_expire_by_last_use"
    ),
    _v9("9", "A new definition of a template id replaces the old one at once", "test_a_redefined_template_holds_from_its_place_on"),
    _v9(
        "9", "A restarted exporter is noticed by its sequence", "test_a_restart_is_believed_when_the_next_datagram_goes_on_from_it"
    ),
    _ipfix(
        "3.1",
        "Sequence numbers count data records modulo 2^32, per stream and domain",
        "test_ipfix_counts_data_records_and_does_not_guess_at_unknown_ones",
        "test_numbers_wrap_at_32_bits",
    ),
    _ipfix("3.1", "The version is 10; other versions are no IPFIX", "test_any_octets_become_flows_or_counted_problems"),
    _ipfix(
        "3.2",
        "The enterprise bit brings a private number with a name space of its own",
        "test_enterprise_element_is_not_the_iana_one_with_its_number",
    ),
    _ipfix("3.3.2", "Set ids 4 to 255, 0 and 1 are reserved", "test_reserved_sets_are_left_out_and_located"),
    _ipfix(
        "3.3.1",
        "Padding is shorter than a record and is skipped",
        "test_records_with_fields_of_variable_length_are_walked_and_padding_is_skipped",
    ),
    _ipfix(
        "3.4.1, 3.4.2.2",
        "Nothing is read out of a template's id: ids come in any order",
        "test_template_ids_come_in_any_order_and_sets_may_be_padded",
    ),
    _ipfix(
        "4",
        "Options are told apart by the elements that they have",
        "test_samplers_of_every_kind_hold_for_their_domain",
        "test_names_of_interfaces_applications_and_vrfs_become_tables",
        "test_timeouts_and_boot_time_of_options_hold_for_the_domain",
    ),
    _ipfix("6.1.9", "The low 11 bits of a microsecond time are ignored", "test_the_low_bits_of_a_microsecond_time_mean_nothing"),
    _ipfix("3.4.1", "Template ids below 256 are not used", "test_a_template_larger_than_its_set_and_reserved_ids_are_located"),
    _ipfix("3.4.2.2", "A scope field count is above zero", "test_options_templates_without_scope_are_refused"),
    _ipfix(
        "6.1.9, 6.1.10",
        "Micro- and nanosecond times are NTP timestamps",
        "test_every_time_element_of_ipfix",
        "test_values_by_abstract_data_type",
    ),
    _ipfix(
        "6.2",
        "Integers and floats may be sent in fewer octets",
        "test_reduced_sizes_are_read_and_too_long_ones_give_their_low_octets",
    ),
    _ipfix(
        "7",
        "Variable lengths are one octet, or 255 and two more",
        "test_records_with_fields_of_variable_length_are_walked_and_padding_is_skipped",
    ),
    _ipfix(
        "8",
        "Template ids are unique per transport session and domain",
        "test_templates_are_scoped_by_exporter_domain_protocol_and_session",
    ),
    _ipfix(
        "8", "Templates are kept for the session's life and forgotten with it", "test_a_session_that_ends_takes_its_templates_along"
    ),
    _ipfix(
        "8",
        "Data and its template need not be in the same message",
        "test_data_before_its_template_is_parked_and_replayed_with_its_own_header",
    ),
    _ipfix(
        "8.1", "Withdrawals take one template, or all of a kind in a domain", "test_withdrawals_of_one_template_or_of_all_of_a_kind"
    ),
    _ipfix("8.1", "A withdrawal of what is not known does no harm", "test_zero_field_template_then_data_ends"),
    _ipfix("8.1", "A withdrawn template is used no more", "test_data_after_a_withdrawal_waits_for_a_new_template"),
    _ipfix(
        "8, 10",
        "Templates of one session or transport are not those of another",
        "test_templates_are_scoped_by_exporter_domain_protocol_and_session",
        "test_a_session_that_ends_takes_its_templates_along",
        deviation="UDP has one session for each exporter, also over a restart of the collector.",
    ),
    _ipfix("10.1", "Other ports than the registered ones can be set", "test_a_port_that_was_asked_for_has_to_be_free"),
    _ipfix("11", "No SSL and no TLS before 1.1", "test_nothing_older_than_tls_1_2_is_spoken"),
    _ipfix("5.2", "Eras of NTP times are told apart", "test_every_time_element_of_ipfix"),
    _ipfix(
        "6.1.6",
        "Strings are UTF-8; ill-formed ones are noticed",
        "test_values_by_abstract_data_type",
        deviation="The message is kept: what is ill-formed shows as U+FFFD.",
    ),
    _ipfix("8.4", "Over UDP templates have a lifetime", "test_templates_expire_by_last_use"),
    _ipfix("8.4", "Over UDP a template may be redefined without a withdrawal", "test_a_redefined_template_holds_from_its_place_on"),
    _ipfix(
        "8.4",
        "Over UDP withdrawals are ignored",
        "test_withdrawals_of_one_template_or_of_all_of_a_kind",
        deviation="They are obeyed: an exporter that sends them means them, and a wrong one costs until the next refresh.",
    ),
    _ipfix(
        "9, 10.4",
        "Connections are listened for, also after one ended abnormally",
        "test_messages_of_a_connection_are_one_session_and_its_end_is_told",
        "test_a_connection_that_ends_inside_a_message_is_counted_as_cut_off",
    ),
    _ipfix("9.2, 10.1", "SCTP is received", deviation="UDP, TCP and TLS over TCP only; no exporter at hand speaks SCTP."),
    _ipfix("10", "Messages have up to 65535 octets", "test_a_message_of_65535_octets_is_whole"),
    _ipfix(
        "11.1, 11.3",
        "Encrypted transports know who is at the other end",
        "test_tls_with_a_known_client_certificate",
        "test_tls_without_a_known_client_certificate_is_refused",
        deviation="TLS over TCP; DTLS over UDP is not received.",
    ),
    _ipfix("9", "Elements that are not known are noted, and do no harm", "test_unknown_elements_are_counted_once_per_template"),
    _ipfix("9", "Padding in all kinds of sets is accepted", "test_template_ids_come_in_any_order_and_sets_may_be_padded"),
    _ipfix("8", "Several identical elements in a template are legal", "test_duplicate_elements_in_one_template"),
    _ipfix(
        "9.1",
        "A message that cannot be read is discarded",
        "test_a_record_of_variable_length_that_ends_too_late_costs_itself",
        deviation="Only the set that cannot be read is discarded and counted; its neighbours and what came before it are kept.",
    ),
    _ipfix(
        "10.3.1",
        "A UDP session is its addresses and ports",
        "test_source_port_is_not_part_of_any_key",
        deviation="The source port is left out: exporters change it while their templates stay in force.",
    ),
    _ipfix(
        "10.4.2",
        "Over TCP messages follow each other; lengths part them",
        "test_a_stream_is_cut_alike_whole_by_octet_and_with_junk",
    ),
    Requirement(
        "RFC 7012 (information model)", "3.1, 3.2", "Every abstract data type is read", ("test_values_by_abstract_data_type",)
    ),
    Requirement(
        "RFC 7012 (information model)",
        "2.3",
        "Elements of the registry and of enterprises can be added",
        ("test_elements_are_kept_on_request", "test_the_shipped_tables_are_whole"),
    ),
    Requirement(
        "RFC 5103 (bidirectional flows)",
        "6.1",
        "Reverse elements are those of enterprise 29305",
        ("test_biflow_becomes_two_directed_flows",),
    ),
    Requirement(
        "RFC 5103 (bidirectional flows)", "5", "A record may have one direction only", ("test_biflow_becomes_two_directed_flows",)
    ),
    Requirement(
        "RFC 5103 (bidirectional flows)",
        "4, 6.3",
        "Source and destination of a record are those of its forward direction",
        ("test_biflow_becomes_two_directed_flows", "test_each_biflow_record_is_a_flow_in_each_direction_that_counted_something"),
    ),
    Requirement(
        "RFC 5610 (type information)",
        "3.9",
        "Type records describe enterprise elements by number, name and type",
        ("test_elements_described_by_their_exporter_are_known_by_name_from_then_on",),
    ),
    Requirement(
        "RFC 5610 (type information)",
        "3",
        "They are of enterprise elements; those of the registry stay as they are",
        ("test_elements_of_the_registry_and_of_the_operator_are_not_for_exporters_to_define",),
    ),
    Requirement("RFC 5610 (type information)", "3.1", "Unknown type values read as octets", ("test_values_by_abstract_data_type",)),
    Requirement(
        "RFC 6313 (structured data)", "4.5.1", "basicList: semantic, element, values", ("test_values_by_abstract_data_type",)
    ),
    Requirement(
        "RFC 6313 (structured data)",
        "4.5.2, 4.5.3",
        "Sub-template lists name their templates",
        ("test_values_by_abstract_data_type",),
    ),
    Requirement("RFC 6313 (structured data)", "4.4", "Lists may hold lists; recursion ends", ("test_lists_within_lists_end",)),
    Requirement(
        "RFC 7133 (data link elements)",
        "3",
        "Frame sections are read like the frames that they are of",
        ("test_sections_of_packets_are_read_like_sampled_heads", "test_a_section_beside_counters_leaves_them_alone"),
    ),
    Requirement(
        "RFC 7133 (data link elements)",
        "3",
        "sectionOffset tells where a section begins, without it at the start",
        ("test_a_section_that_does_not_begin_with_its_frame_is_not_read",),
    ),
    Requirement(
        "RFC 7133 (data link elements)",
        "3",
        "sectionExportedOctets tells padding from what was observed",
        ("test_padding_after_the_octets_that_were_observed_is_no_part_of_a_section",),
    ),
    Requirement(
        "RFC 7133 (data link elements)",
        "3",
        "dataLinkFrameType tells the link that a frame is of",
        ("test_frames_of_other_links_than_ethernet_are_not_read_as_such",),
    ),
    _sflow(
        "datagram",
        "Agent addresses are IPv4 or IPv6; sub-agents have sequences of their own",
        "test_full_cases_agree_in_order",
        "test_sub_agents_have_sequences_of_their_own",
    ),
    _sflow(
        "data_format",
        "Samples and records of unknown enterprise and format are skipped by length",
        "test_samples_of_other_enterprises_and_unknown_records_are_skipped",
    ),
    _sflow(
        "flow_sample, expanded",
        "Flow samples in both encodings",
        "test_a_sample_becomes_all_of_its_columns",
        "test_expanded_samples_have_interfaces_of_32_bits_and_of_many_outputs_the_sampled_one",
    ),
    _sflow(
        "interface",
        "Formats of interfaces: one, discarded, many; 0x3fffffff is unknown",
        "test_sampling_at_the_output_is_egress_and_many_outputs_are_none",
        "test_sflow_interface_0x3fffffff_is_no_interface",
    ),
    _sflow("counters_sample, expanded", "Counter samples in both encodings", "test_counter_samples_become_readings_of_interfaces"),
    _sflow("sampled_header", "Links other than Ethernet", "test_heads_of_point_to_point_links_and_of_mpls"),
    _sflow("discarded_packet", "Dropped packets are no traffic", "test_discarded_packets_count_nothing_but_themselves"),
    _sflow("sampled_header", "Headers may be cut", "test_a_head_cut_anywhere_keeps_what_it_has"),
    _sflow(
        "sampled_ipv4, sampled_ipv6, sampled_ethernet",
        "Records in place of a header",
        "test_plain_ip_records_stand_in_for_a_missing_head",
        "test_ethernet_and_nat_records",
    ),
    _sflow(
        "extended_switch, _router, _gateway, _nat",
        "Extended records",
        "test_a_sample_becomes_all_of_its_columns",
        "test_an_as_path_that_is_empty_or_cut_costs_what_follows_it_alone",
        "test_paths_of_many_samples_stay_with_their_samples",
        "test_ethernet_and_nat_records",
        "test_ports_of_a_translation_have_a_record_of_their_own",
    ),
    _sflow("extended_mpls", "The label stack where the header has none", "test_an_mpls_record_stands_in_for_a_missing_stack"),
    _sflow(
        "extended_L2_tunnel, _ipv4_tunnel, _ipv6_tunnel, _vni (sFlow Tunnel Structures)",
        "Outer headers of tunnels at both sides, and the network inside",
        "test_tunnels_that_the_agent_took_off_or_puts_on",
    ),
    _sflow(
        "extended_vlantunnel",
        "Tags that were taken off before sampling, outermost first",
        "test_tags_that_the_agent_took_off_are_above_those_of_the_head",
        "test_a_list_of_stripped_tags_that_is_cut_says_nothing",
    ),
    _sflow(
        "extended_mpls_tunnel, _vc, _FTN, _LDP_FEC; extended_user, _url",
        "Names of paths, pseudowires, users and addresses of pages",
        "test_samples_of_other_enterprises_and_unknown_records_are_skipped",
        deviation="Skipped by their length: no column holds them.",
    ),
    _sflow(
        "extended_decapsulate (sFlow Tunnel Structures)",
        "Where the header inside starts",
        "test_the_payload_that_the_agent_points_to_is_the_flow_inside",
    ),
    _sflow(
        "sequence_number of flow_sample",
        "Each data source numbers its own samples",
        "test_lost_samples_are_known_by_the_numbers_of_their_sources",
        "test_an_agent_that_starts_again_or_numbers_otherwise_loses_nothing",
    ),
)

_HEAD: Final = """# Protocols

Made from the tests by `python -m tests.protocols.requirements`; a test compares this page with them.

## What the standards ask of a collector

Statements are in our own words. Each is held by the tests named beside it, in `tests/protocols/`, those of transports in
`tests/ingest/`.
"""
_TRAPS: Final = """
## Faults seen in other collectors

| fault | seen in | held by |
|---|---|---|
"""
_FIELDS: Final = """
## Fields

Columns of FLOW and where each protocol has them. NetFlow v9 and IPFIX share element numbers; of several the first that a record
has (and that is not 0) counts.

| column | unit | NetFlow v5 | NetFlow v9, IPFIX | sFlow v5 |
|---|---|---|---|---|
"""


def render() -> str:
    """The page."""
    lines = [_HEAD]
    for source in dict.fromkeys(item.source for item in REQUIREMENTS):
        lines += [f"\n### {source}\n\n| section | asks | held by |\n|---|---|---|\n"]
        lines += [_row(item) for item in REQUIREMENTS if item.source == source]
    fields = [_field(column) for column in FLOW if column.stage is Stage.INGEST]
    return "".join([*lines, _TRAPS, *map(_trap, TRAPS), _FIELDS, *fields])


def _row(item: Requirement) -> str:
    held = ", ".join(f"`{name}`" for name in item.tests)
    text = " ".join(part for part in (f"**Otherwise:** {item.deviation}" if item.deviation else "", held) if part)
    return f"| {item.section} | {item.says} | {text} |\n"


def _trap(trap: Trap) -> str:
    return f"| {trap.fault} | {trap.seen_in} | {', '.join(f'`{name}`' for name in trap.tests)} |\n"


def _field(column: Column) -> str:
    elements = ", ".join(f"{element_of(0, number).name} ({number})" for number in column.elements)
    return f"| {column.name} | {column.unit} | {column.v5} | {elements} | {column.sflow} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
