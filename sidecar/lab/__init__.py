"""Throw-away real servers on loopback, for the demo, the tests and the benchmarks.

Everything here is an async context manager that ends with its with-block, and also when the
process that opened it is killed. Nothing touches the machine's own servers: each server gets
a loopback address of its own, free high ports, and a directory that is removed afterwards.

Product code never imports this package.
"""
