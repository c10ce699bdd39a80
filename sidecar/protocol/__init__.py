"""Bytes and elements to values and back: no I/O, no clock, no randomness."""
