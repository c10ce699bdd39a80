"""How fast a server federates with the sidecar, beside the same server without it.

    python -m bench.handshake [--quick] [--json FILE]

`contenders` starts the servers, `inbound`, `outbound` and `verify` are the loads, `dns` answers
for their peers, `cpu` reads what each process used, `report` makes the table.
"""
