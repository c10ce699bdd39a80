"""The Prosody module's own Lua, without a server: style, MAC, what it takes for a request."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from sidecar.lab.faults import Missing
from sidecar.lab.sidecar import PROSODY_MODULES
from sidecar.protocol.link_mac import (
    LinkKey,
    canonical_element,
    canonical_reply,
    canonical_request,
)

MODULE = PROSODY_MODULES / "mod_dialback_sidecar"
_PROSODY_SOURCE = Path("/usr/lib/prosody")
_PRELUDE = f"""
package.path = "{_PROSODY_SOURCE}/?.lua;" .. package.path
package.cpath = "{_PROSODY_SOURCE}/?.so;" .. package.cpath
table.insert(package.searchers, function (name) -- Prosody 13 puts its name before all of its own
  local bare = name:match("^prosody%.(.+)")
  return bare and function () return require(bare) end
end)
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
    for file in files:
        done = subprocess.run([compiler, "-p", file], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_mac_of_a_reply_is_the_worked_example_of_the_link_protocol() -> None:
    lines = run_lua("""
      local mac, hex = lib "mac", require "util.hex"
      local key = mac.link_key("s3cr3t")
      local request = "b5378db4aa2fcb70a2746857bd1521f7e14b969b12770551b195cbac073e06c0"
      local reply = st.stanza("verdict", { xmlns = "urn:dialback-sidecar:1", type = "valid",
          ["xml:lang"] = "en", ["urn:x\\1y"] = "z" })
      print((hex.encode or hex.to)(key))
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
        "a76d574cb4e0caa4d687d3078050401c45cd09146b187a1a910fd6dddc5dbea1",
        "true",
        "false",
        "false",
    ]


def test_requests_are_read_by_the_sidecar_as_they_were_meant() -> None:
    """Also what XML or the MAC could trip over: markup, quotes, other alphabets, children."""
    (line,) = run_lua("""
      local mac, wire = lib "mac", lib "wire"
      local key = mac.link_key("s3cr3t")
      local child = wire.kind("verify", { "ip", "sender", "stream", "target" })
      local leaf = wire.kind("certificate", {})
      local function element(text, children)
        return { kind = child, text = text, children = children,
          sender = "bücher.example", target = "π.example", stream = [[a&b<c>'d"]] }
      end
      local children = { element([=[k&<>'"]]>]=]),
        element("two", { { kind = leaf, text = "AA==" } }), { kind = child, ip = "::1" } }
      local iq = { type = "set", id = "1", host = "bücher.example", jid = "d.example" }
      print((wire.request(key, iq, { kind = wire.kind("batch", { "note", "remaining" }),
        note = "tab\\t" .. [['"]], remaining = "9", children = children })))
    """)
    iq = fromstring(line)
    assert iq[0].get("mac") == LinkKey(b"s3cr3t").mac(canonical_request(iq, iq[0]))
    assert iq.attrib == {"type": "set", "id": "1", "from": "bücher.example", "to": "d.example"}
    assert (iq[0].get("note"), iq[0].get("remaining")) == ("tab\t'\"", "9")
    assert [(each.text or "", each.attrib) for each in iq[0]] == [
        (
            "k&<>'\"]]>",
            {"sender": "bücher.example", "target": "π.example", "stream": "a&b<c>'d\""},
        ),
        ("two", iq[0][0].attrib),
        ("", {"ip": "::1"}),
    ]
    assert iq[0][1][0].text == "AA=="


def test_mac_of_a_reply_agrees_with_the_sidecar() -> None:
    xml = (
        "<answers xmlns='urn:dialback-sidecar:1' mac='x'> <key>&lt;k&gt;</key>and"
        "<verdict type='error' reason='ü' condition='c'/>"
        "<refused condition='forbidden'>no</refused>"
        "<key>a<x b='1'/>c</key></answers>"
    )
    expected = LinkKey(b"s3cr3t").mac(canonical_reply("abc", canonical_element(fromstring(xml))))
    lines = run_lua(f"""
      local mac, reply = lib "mac", require "util.xml".parse({lua(xml)})
      print(mac.of_reply(mac.link_key("s3cr3t"), "abc", reply))
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
      local elements = lib "elements" (lib "wire")
      local stanza = st.stanza("result", {{ {shown} }}):text({lua(text)})
      local element, wrong = elements.read(stanza)
      print(wrong and "wrong " .. wrong or "ok " .. element.from .. " " .. element.to)
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
      local elements = lib "elements" (lib "wire")
      local stanza = st.stanza("verify", {{ from = "a.example", to = "b.example",
        id = {lua(stream_id)} }}):text("{KEY}")
      print(select(2, elements.read(stanza)) == nil)
    """)
    assert lines == [expected]


def test_answer_echoes_the_addresses_as_received_and_never_the_key() -> None:
    lines = run_lua(f"""
      local elements = lib "elements" (lib "wire")
      local stanza = st.stanza("verify", {{ from = "Peer.Example", to = "nobody..here",
        id = "a b" }}):text("{KEY}")
      local session = {{ sends2s = function (reply) print(reply) end }}
      elements.answer(session, (elements.read(stanza)), "error", "item-not-found")
      elements.answer(session, (elements.read(stanza)), "error", "made-up")
      elements.answer(session, (elements.read(stanza)), "valid")
    """)
    text = "\n".join(lines)
    assert KEY not in text
    assert [" to='Peer.Example'" in line for line in lines] == [True, True, True]
    assert [" from='nobody..here'" in line for line in lines] == [True, True, True]
    assert [" id='a b'" in line for line in lines] == [True, True, True]
    assert "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" in lines[0]
    assert "<internal-server-error " in lines[1]
    assert " type='valid'" in lines[2] and lines[2].endswith("/>")


def test_answer_is_well_formed_whatever_it_echoes() -> None:
    (line,) = run_lua("""
      local elements = lib "elements" (lib "wire")
      local stanza = st.stanza("verify", { from = "a<b>.x", to = [[c'd"&.x]], id = "<&'>" })
      local session = { sends2s = function (reply) print(reply) end }
      elements.answer(session, (elements.read(stanza)), "invalid")
    """)
    answer = fromstring(line.replace("db:", ""))
    assert answer.attrib == {"from": "c'd\"&.x", "to": "a<b>.x", "id": "<&'>", "type": "invalid"}
