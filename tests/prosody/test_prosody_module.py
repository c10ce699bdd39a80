"""The Prosody module's own Lua, without a server: style, MAC, what it takes for a request."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.lab.faults import Missing
from sidecar.lab.sidecar import PROSODY_MODULES

MODULE = PROSODY_MODULES / "mod_dialback_sidecar"
_PROSODY_SOURCE = Path("/usr/lib/prosody")
_PRELUDE = f"""
package.path = "{_PROSODY_SOURCE}/?.lua;" .. package.path
package.cpath = "{_PROSODY_SOURCE}/?.so;" .. package.cpath
local st = require "util.stanza"
local function lib(name)
  return assert(loadfile("{MODULE}/" .. name .. ".lib.lua"))()
end
"""


def run_lua(script: str) -> list[str]:
    """Run `script` with Prosody's libraries and the module's `lib(name)`; return its lines."""
    if shutil.which("lua5.4") is None:
        raise Missing("lua5.4", "lua5.4")
    if not (_PROSODY_SOURCE / "util" / "hashes.so").exists():
        raise Missing("prosody", "prosody")
    done = subprocess.run(
        ["lua5.4", "-"],
        input=_PRELUDE + script,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def lua(value: str | None) -> str:
    return "nil" if value is None else json.dumps(value, ensure_ascii=False)


def test_luacheck_finds_nothing() -> None:
    if shutil.which("luacheck") is None:
        raise Missing("luacheck", "lua-check")
    done = subprocess.run(
        ["luacheck", "--no-color", "."],
        cwd=PROSODY_MODULES,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("compiler", ["luac5.1", "luac5.4"])
def test_every_file_compiles(compiler: str) -> None:
    if shutil.which(compiler) is None:
        raise Missing(compiler, compiler.replace("luac", "lua"))
    files = sorted(MODULE.glob("*.lua"))
    assert files
    done = subprocess.run([compiler, "-p", *files], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_mac_is_the_worked_example_of_the_link_protocol() -> None:
    lines = run_lua("""
      local mac, hex = lib "mac", require "util.hex"
      local iq = st.iq({ type = "get", id = "4f9a1c", from = "capulet.example",
        to = "dialback.capulet.example" })
        :tag("verify", { xmlns = "urn:dialback-sidecar:1", sender = "capulet.example",
          target = "montague.example", stream = "D60000229F", remaining = "3000",
          mac = "ignored", ["xml:lang"] = "en", ["urn:x\\1y"] = "z" }):text("b4835385f37fe289")
      local key = mac.link_key("s3cr3t")
      local request = mac.of_request(key, iq)
      local reply = st.stanza("verdict", { xmlns = "urn:dialback-sidecar:1", type = "valid" })
      print((hex.encode or hex.to)(key))
      print(request)
      print(mac.of_reply(key, request, reply))
      reply.attr.mac = mac.of_reply(key, request, reply)
      print(mac.is_of_reply(key, request, reply))
      reply.attr.type = "invalid"
      print(mac.is_of_reply(key, request, reply))
      reply.attr.mac = nil
      print(mac.is_of_reply(key, request, reply))
    """)
    assert lines == [
        "974284ce26f72304003627f18c0f17485f72ee7280c7de04f201bc14ff375d9a",
        "b5378db4aa2fcb70a2746857bd1521f7e14b969b12770551b195cbac073e06c0",
        "a76d574cb4e0caa4d687d3078050401c45cd09146b187a1a910fd6dddc5dbea1",
        "true",
        "false",
        "false",
    ]


def test_mac_agrees_with_the_sidecar_on_children_and_other_alphabets() -> None:
    from xml.etree.ElementTree import fromstring

    from sidecar.protocol.link_mac import LinkKey, canonical_request

    xml = (
        "<iq type='get' id='1' from='bücher.example' to='d.example'>"
        "<check xmlns='urn:dialback-sidecar:1' sender='π.example' target='bücher.example'"
        " stream='s' chain='self-signed &lt;&amp;&gt;' encrypted='true'>"
        "<key>k</key><certificate>AA==</certificate><certificate>BB==</certificate></check></iq>"
    )
    iq = fromstring(xml)
    expected = LinkKey(b"s3cr3t").mac(canonical_request(iq, iq[0]))
    lines = run_lua(f"""
      local mac, iq = lib "mac", require "util.xml".parse({lua(xml)})
      print(mac.of_request(mac.link_key("s3cr3t"), iq))
    """)
    assert lines == [expected]


KEY = "b4835385f37fe289"


@pytest.mark.parametrize(
    ("attributes", "text", "expected"),
    [
        ({"from": "A.Example", "to": "B.example"}, f" {KEY}\n", "ok a.example b.example"),
        ({"from": "bücher.example", "to": "b.example"}, KEY, "ok bücher.example b.example"),
        ({"from": "my_host.example", "to": "b"}, KEY, "ok my_host.example b"),
        ({"from": "a-b.1.xn--a", "to": "_x.b_"}, KEY, "ok a-b.1.xn--a _x.b_"),
        ({"from": "x" * 63 + ".example", "to": "b"}, KEY, "ok " + "x" * 63 + ".example b"),
        ({"from": "a-.example", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a.-b.example", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a.example-", "to": "b.example"}, KEY, "wrong from"),
        ({"from": ".a.example", "to": "b.example"}, KEY, "wrong from"),
        ({"to": "b.example"}, KEY, "wrong from"),
        ({"from": "", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a..example", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a.example.", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "-a.example", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a b.example", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a@b.example", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a.example:5269", "to": "b.example"}, KEY, "wrong from"),
        ({"from": "x" * 64 + ".example", "to": "b.example"}, KEY, "wrong from"),
        ({"from": ".".join(["x" * 60] * 5), "to": "b.example"}, KEY, "wrong from"),
        ({"from": "a.example"}, KEY, "wrong to"),
        ({"from": "a.example", "to": "b.example/x"}, KEY, "wrong to"),
        ({"from": "a.example", "to": "b.example"}, "", "wrong key"),
        ({"from": "a.example", "to": "b.example"}, " \n ", "wrong key"),
        ({"from": "a.example", "to": "b.example"}, "a b", "wrong key"),
        ({"from": "a.example", "to": "b.example"}, "é", "wrong key"),
        ({"from": "a.example", "to": "b.example"}, "k" * 257, "wrong key"),
        ({"from": "a.example", "to": "b.example", "type": "valid"}, "", "ok a.example b.example"),
    ],
)
def test_dialback_request_is_read_or_its_fault_named(
    attributes: dict[str, str], text: str, expected: str
) -> None:
    shown = ", ".join(f"[{lua(name)}] = {lua(value)}" for name, value in attributes.items())
    lines = run_lua(f"""
      local elements = lib "elements"
      local stanza = st.stanza("result", {{ {shown} }}):text({lua(text)})
      local element, wrong = elements.read(stanza, elements.as_received(stanza))
      print(element and "ok " .. element.from .. " " .. element.to or "wrong " .. wrong)
    """)
    assert lines == [expected]


@pytest.mark.parametrize(
    ("stream_id", "expected"),
    [
        ("D60000229F", "true"),
        ("~!'\"", "true"),
        ("i" * 256, "true"),
        ("i" * 257, "false"),
        ("", "false"),
        ("a b", "false"),
        ("é", "false"),
        (None, "false"),
    ],
)
def test_verify_request_needs_a_usable_stream_id(stream_id: str | None, expected: str) -> None:
    lines = run_lua(f"""
      local elements = lib "elements"
      local stanza = st.stanza("verify", {{ from = "a.example", to = "b.example",
        id = {lua(stream_id)} }}):text("{KEY}")
      print(elements.read(stanza, elements.as_received(stanza)) ~= nil)
    """)
    assert lines == [expected]


def test_answer_echoes_the_addresses_as_received_and_never_the_key() -> None:
    lines = run_lua(f"""
      local elements = lib "elements"
      local stanza = st.stanza("verify", {{ from = "Peer.Example", to = "nobody..here",
        id = "a b" }}):text("{KEY}")
      local session = {{ sends2s = function (reply) print(reply) end }}
      elements.answer(session, elements.as_received(stanza), "error", "item-not-found")
      elements.answer(session, elements.as_received(stanza), "error", "made-up")
      elements.answer(session, elements.as_received(stanza), "valid")
    """)
    text = "\n".join(lines)
    assert KEY not in text
    assert [" to='Peer.Example'" in line for line in lines] == [True, True, True]
    assert [" from='nobody..here'" in line for line in lines] == [True, True, True]
    assert [" id='a b'" in line for line in lines] == [True, True, True]
    assert "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" in lines[0]
    assert "<internal-server-error " in lines[1]
    assert " type='valid'" in lines[2] and lines[2].endswith("/>")
