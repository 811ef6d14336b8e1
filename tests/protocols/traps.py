"""Faults seen in other collectors, and the tests that keep Nephrite from each; part of `docs/reference/protocols.md`.

A test is named by its file below tests/ and its function. Traps of the pipeline and of answers are listed beside those of decoding.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Trap:
    """One fault, who has been caught in it, and the tests of it."""

    fault: str
    seen_in: str
    tests: tuple[str, ...]


def _here(fault: str, seen_in: str, *names: str) -> Trap:
    return Trap(fault, seen_in, tuple(f"protocols/test_traps.py::{name}" for name in names))


TRAPS: Final = (
    _here("a template without fields, then data: endless loop", "vFlow, goflow2", "test_zero_field_template_then_data_ends"),
    _here(
        "a withdrawal changes the table that is being walked",
        "python netflow",
        "test_withdrawal_of_everything_while_templates_are_many",
    ),
    _here(
        "an enterprise element read as the IANA one with its number",
        "python netflow, goflow",
        "test_enterprise_element_is_not_the_iana_one_with_its_number",
    ),
    _here(
        "one template id in two domains, or of two exporters, mixed up",
        "vFlow, logstash, ElastiFlow",
        "test_same_template_id_in_two_domains_and_two_exporters",
    ),
    Trap(
        "the source port part of the key: options from another port lose the sampling",
        "goflow, nfdump",
        (
            "protocols/test_traps.py::test_source_port_is_not_part_of_any_key",
            "ingest/test_udp_receiver.py::test_options_from_one_port_hold_for_flows_from_others",
        ),
    ),
    _here("options and data in one packet: the rate comes too late", "akvorado", "test_options_record_and_data_in_one_packet"),
    _here("two samplers on one box overwrite each other", "akvorado", "test_two_samplers_on_one_box"),
    _here("interval 1 and space 999 read as 1", "goflow2", "test_packet_interval_1_and_space_999_are_1_in_1000"),
    _here("the mode bits read as a part of the v5 interval", "goflow2", "test_v5_sampling_interval_is_without_its_mode_bits"),
    Trap(
        "all templates expire together, or with the sequence of another domain",
        "Filebeat",
        (
            "protocols/test_traps.py::test_templates_of_one_domain_outlive_a_restart_in_another",
            "protocols/test_templates_and_options.py::test_templates_expire_by_last_use",
        ),
    ),
    Trap(
        "a template with an element twice is refused",
        "logstash",
        (
            "protocols/test_traps.py::test_duplicate_elements_in_one_template",
            "protocols/test_templates_and_options.py::test_zero_length_and_repeated_fields_are_no_harm",
        ),
    ),
    Trap(
        "both address families in a template, one all zero",
        "exporters of several vendors",
        (
            "protocols/test_traps.py::test_both_address_families_with_one_all_zero",
            "protocols/test_decoder_netflow.py::test_the_address_that_is_all_zero_gives_way_to_the_other_family",
        ),
    ),
    Trap(
        "a full queue drops and nothing counts it",
        "vFlow",
        (
            "ingest/test_udp_receiver.py::test_what_the_queue_refuses_is_counted_by_exporter",
            "ingest/test_overload.py::test_above_its_rate_every_lost_datagram_is_in_a_counter",
        ),
    ),
    _here("the remote port as a label of metrics", "netflow-collector", "test_no_counter_has_a_label_that_senders_choose"),
    Trap(
        "updates and teardown of a firewall summed twice",
        "nfdump",
        (
            "protocols/test_traps.py::test_asa_updates_and_teardown_are_not_summed_twice",
            "protocols/test_traps.py::test_asa_packets_of_initiator_and_responder_are_not_summed_twice",
            "protocols/test_biflows_of_the_corpus.py::test_connections_through_a_firewall_sum_up_to_their_teardown_in_each_direction",
        ),
    ),
    _here("sFlow's interface 0x3fffffff refused", "akvorado", "test_sflow_interface_0x3fffffff_is_no_interface"),
    Trap(
        "a long flow counted in one bucket: a spike",
        "FastNetMon, ntopng",
        (
            "protocols/test_traps.py::test_long_flow_counts_from_its_active_timeout",
            "columns/test_arithmetic.py::test_shares_add_up_and_are_fair",
            "stores/test_raw_answers.py::test_a_flow_is_spread_over_its_minutes",
        ),
    ),
    _here(
        "a first switched above the uptime, and its wrap after 49 days",
        "pmacct, softflowd",
        "test_first_switched_above_uptime_and_the_49_day_wrap",
    ),
    Trap(
        "a range longer than the rollup keeps: raw flows are scanned until the time is out",
        "ElastiFlow",
        (
            "query/test_query_levels.py::test_pieces_tile_the_range_with_whole_windows",
            "query/test_query_planner.py::test_aggregates_answer_for_one_application_where_raw_flows_are_gone",
        ),
    ),
    _here(
        "templates and spoofed sources without bounds",
        "OpenNMS, riptide, goflow2",
        "test_storm_of_random_templates_and_spoofed_sources_stays_bounded",
    ),
    Trap(
        "a withdrawal takes the templates of other exporters along",
        "OpenNMS",
        ("protocols/test_templates_and_options.py::test_withdrawals_of_one_template_or_of_all_of_a_kind",),
    ),
    Trap(
        "a malformed set costs the exporter's templates",
        "OpenNMS",
        ("protocols/test_templates_and_options.py::test_a_bad_set_costs_itself_and_not_its_neighbours",),
    ),
    Trap(
        "options of a template that has expired: an exception",
        "OpenNMS",
        ("protocols/test_templates_and_options.py::test_options_outlive_their_template",),
    ),
    _here("a mapped IPv4 address in an IPv6 element: an exception", "OpenNMS", "test_mapped_addresses_are_those_of_ipv4"),
    Trap(
        "every sequence number counts packets: false alarms",
        "OpenNMS",
        (
            "protocols/test_sequence_and_clock.py::test_v5_counts_flows",
            "protocols/test_sequence_and_clock.py::test_ipfix_counts_data_records_and_does_not_guess_at_unknown_ones",
        ),
    ),
    Trap(
        "delta microseconds read as milliseconds, nanoseconds not at all",
        "OpenNMS",
        ("protocols/test_decoder_netflow.py::test_every_time_element_of_ipfix",),
    ),
    Trap(
        "a sampling probability read as an integer; the sampler table of v9 not read",
        "OpenNMS",
        (
            "protocols/test_templates_and_options.py::test_samplers_of_every_kind_hold_for_their_domain",
            "protocols/test_traps.py::test_two_samplers_on_one_box",
        ),
    ),
)
