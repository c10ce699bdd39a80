"""The server-to-server side: DNS, connections and TLS around the protocol core."""
