"""Services that generated traffic is made of: name for people, IP protocol, server port; the most used first.

The names say what was meant; which application a port counts as is for the classifier, and for the oracle's own copy of its rule.
"""

from typing import Final

TCP: Final = 6
UDP: Final = 17
SCTP: Final = 132
ICMP: Final = 1
ICMP6: Final = 58

SERVICES: Final[tuple[tuple[str, int, int], ...]] = (
    ("https", TCP, 443),
    ("quic", UDP, 443),
    ("http", TCP, 80),
    ("domain", UDP, 53),
    ("microsoft-ds", TCP, 445),
    ("nfs", TCP, 2049),
    ("ssh", TCP, 22),
    ("imaps", TCP, 993),
    ("iscsi-target", TCP, 3260),
    ("ms-wbt-server", TCP, 3389),
    ("postgresql", TCP, 5432),
    ("ldap", TCP, 389),
    ("kerberos", UDP, 88),
    ("ntp", UDP, 123),
    ("snmp", UDP, 161),
    ("sip", UDP, 5060),
    ("rtp", UDP, 5004),
    ("smtp", TCP, 25),
    ("submission", TCP, 587),
    ("ldaps", TCP, 636),
    ("mysql", TCP, 3306),
    ("ms-sql-s", TCP, 1433),
    ("syslog", UDP, 514),
    ("radius", UDP, 1812),
    ("ipsec-nat-t", UDP, 4500),
    ("isakmp", UDP, 500),
    ("mqtt", TCP, 1883),
    ("amqp", TCP, 5672),
    ("http-alt", TCP, 8080),
    ("domain", TCP, 53),
    ("rsync", TCP, 873),
    ("ftp", TCP, 21),
    ("telnet", TCP, 23),
    ("bgp", TCP, 179),
    ("tftp", UDP, 69),
    ("mdns", UDP, 5353),
    ("ssdp", UDP, 1900),
    ("x11", TCP, 6000),
    ("s1-control", SCTP, 36412),
    ("diameter", SCTP, 3868),
)
