"""The demo: two servers that never met, and who decided what when they did.

`stage` puts the servers up, `wire_log` reads what they logged of the wire, `story` makes the
steps of each handshake from that. Nothing of what is shown is made up: every line of the story
is a line some server or the daemon logged.
"""
