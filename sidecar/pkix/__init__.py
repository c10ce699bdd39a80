"""Certificates of peers: whose they are, and whether an authority says so. No I/O, no clock."""
