"""What a dialback key is worth: XEP-0185, secrets by version, the ledger's rules, keyd's messages.

Pure: bytes, numbers and the clock come in as arguments, answers go out as values.
"""
