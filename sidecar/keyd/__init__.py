"""dialback-keyd: the process that owns the secrets and the ledger of issued keys.

It opens no network port, parses no XML and no HTTP, and answers one Unix socket.
"""
