"""How fast the sidecar is, and how fast a server federates with it, beside the same without it.

    python -m bench [NAME ...] [--quick] [--json FILE]

`suites` lists the benchmarks, `report` makes one table of their `comparison`s. In `handshake`
the `contenders` are servers, `inbound`, `outbound` and `verify` the loads, `dns` answers for
their peers, `cpu` reads what each process used.
"""
