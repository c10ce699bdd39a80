"""XML namespaces on a server-to-server stream."""

SERVER = "jabber:server"
STREAM = "http://etherx.jabber.org/streams"
DIALBACK = "jabber:server:dialback"
DIALBACK_FEATURE = "urn:xmpp:features:dialback"
STARTTLS = "urn:ietf:params:xml:ns:xmpp-tls"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
