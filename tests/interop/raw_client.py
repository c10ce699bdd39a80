"""A local user with a client that sends any XML: c2s with SASL PLAIN, in the clear or in TLS."""

from __future__ import annotations

import base64
import ssl
from xml.etree.ElementTree import Element

from raw_stream import STREAM, TLS, RawStream

_SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"


async def log_in(
    jid: str, password: str, address: str, port: int, *, available: bool = True
) -> RawStream:
    """Return the stream of a logged-in client with a resource bound."""
    user, _, host = jid.partition("@")
    stream = await RawStream.connect(address, port, namespace="jabber:client")
    features = await _open(stream, host)
    if features.find(TLS + "starttls") is not None:
        await stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await stream.receive(TLS + "proceed")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await stream.start_tls(context, host)
        await _open(stream, host)
    proof = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    await stream.send(
        f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>"
    )
    await stream.receive(_SASL + "success")
    stream.restart()
    await _open(stream, host)
    await stream.send(
        "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
    )
    await stream.receive("{jabber:client}iq")
    if available:
        await stream.send("<presence/>")
        await stream.receive("{jabber:client}presence")
    return stream


async def _open(stream: RawStream, host: str) -> Element:
    await stream.send_header(to=host, version="1.0")
    return await stream.receive(STREAM + "features")
