-- mod_dialback_sidecar: dialback-sidecar decides every Server Dialback (XEP-0220) of this server.
--
-- Enabled in the sidecar's own Component section only. From there it hooks in front of the
-- server's mod_dialback on every host, components and MUC hosts included; mod_dialback stays
-- loaded and takes over again as soon as this module is gone. See README.md.

local now = require "util.time".monotonic;
local nameprep = require "util.encodings".stringprep.nameprep;

local hosts = prosody.hosts;

if module:get_host_type() ~= "component" or not hosts[module.host].modules.component then
	error("mod_dialback_sidecar belongs in the sidecar's own section, e.g. Component \"dialback.example.org\", "
		.. "and nowhere else", 0);
end
for name, host in pairs(hosts) do
	if name ~= module.host and host.modules.dialback_sidecar then
		error("mod_dialback_sidecar is already enabled for " .. name .. ": enable it once and list further sidecars "
			.. "there, in dialback_sidecar_jids", 0);
	end
end

local options = {
	seconds = module:get_option_number("dialback_sidecar_timeout", 5);
	check_seconds = module:get_option_number("dialback_sidecar_check_timeout", 15);
	check_limit = module:get_option_number("dialback_sidecar_check_limit", 16);
	verify_limit = module:get_option_number("dialback_sidecar_verify_limit", 256);
};
local fallback = module:get_option_string("dialback_sidecar_fallback", "none");
local jids = {};
for _, jid in ipairs(module:get_option_array("dialback_sidecar_jids", { module.host })) do
	jids[#jids + 1] = nameprep(jid) or jid;
	jids[jids[#jids]] = true;
end
if not jids[module.host] then
	module:log("warn", "dialback_sidecar_jids does not name %s, whose section it is in; added at the end", module.host);
	jids[#jids + 1] = module.host;
end

local parts = {
	native = module:require "native", streams = module:require "streams", peers = module:require "peers",
	mac = module:require "mac", wire = module:require "wire",
};
parts.sidecars = module:require "sidecars" (parts.mac);
local native, sidecars, streams = parts.native, parts.sidecars, parts.streams;
parts.elements = module:require "elements" (parts.wire);
parts.attempts = module:require "attempts" (parts.sidecars, parts.wire);
parts.link = module:require "link" (parts);
local elements, link = parts.elements, parts.link;
parts.report = module:require "report" (parts, options);
local report = parts.report;
local front = module:require "front" (parts);
local issue = module:require "issue" (parts, options);
local verify = module:require "verify" (parts, options);
local check = module:require "check" (parts, options);
local isolation = module:require "isolation";

sidecars.use(jids);
native.is_fallback = fallback == "native";
sidecars.skips_mute = native.is_fallback;
if fallback ~= "native" and fallback ~= "none" then
	module:log("error", "dialback_sidecar_fallback: expected \"native\" or \"none\", got %q; using \"none\"", fallback);
end

-- Outages, in words for whoever is on call -----------------------------------------------------

local OUTAGE_LOG_SECONDS = 60;
local outage_logged_at = -math.huge;
local is_ending = false;

local function outage_effect()
	return native.is_fallback and "the server's own dialback decides"
		or "new connections that need dialback fail until it is back";
end

function link.on_outage(problem)
	if is_ending or now() - outage_logged_at < OUTAGE_LOG_SECONDS then return; end
	outage_logged_at = now();
	module:log("warn", "no answer from a sidecar (%s): %s. Is dialback-sidecar running, with a [[link]] for %s?",
		problem, outage_effect(), table.concat(jids, " or "));
end

-- With the fallback, settle what waits for a mute sidecar now, issues before checks: two servers
-- with mute sidecars would otherwise wait for each other until s2s_timeout.
function link.on_silence(jid)
	if native.is_fallback and sidecars.are_mute() then
		link.fail(jid .. " does not answer");
	end
end

-- Handlers on the events of every host ---------------------------------------------------------

local function has_dialback(session)
	return native.module_of(session.from_host) ~= nil;
end

local function on_features(event)
	local session = event.origin;
	if not streams.is_outbound(session) or not has_dialback(session) then return; end
	if session.external_auth and session.external_auth ~= "failed" then return; end
	return issue.start(session);
end

local function on_sasl_failure(event)
	local session = event.origin;
	if not streams.is_outbound(session) or session.external_auth ~= "failed" or not has_dialback(session) then
		return;
	end
	return issue.start(session);
end

local function on_legacy(event)
	if not has_dialback(event.origin) then return; end
	return issue.start(event.origin);
end

local function unsolicited(session, element)
	streams.warn_once(session, "a db:%s of type %q from %s (claimed: %s) answers no request of this stream; dropped",
		element.name, element.type, session.ip, element.from);
	return true;
end

local function on_result(event)
	local session, stanza = event.origin, event.stanza;
	if native.lets_through(stanza) then return; end
	local element = front.element(session, stanza);
	if not element then return element == false or nil; end
	if streams.is_inbound(session) then
		-- We send no requests on inbound streams, not even bidirectional ones.
		if element.type then return unsolicited(session, element); end
		return check.on_request(session, element, stanza);
	elseif streams.is_outbound(session) then
		if element.type then return issue.on_result(session, element); end
		elements.answer(session, element, "error", "not-acceptable");
		return true;
	end
end

local function on_verify(event)
	local session, stanza = event.origin, event.stanza;
	if native.lets_through(stanza) then return; end
	local element = front.element(session, stanza);
	if not element then return element == false or nil; end
	if not element.type then
		-- A peer may ask over a bidirectional stream of ours as well (XEP-0288).
		if streams.is_inbound(session) or session.incoming then
			return verify.on_request(session, element, stanza);
		end
		return unsolicited(session, element);
	end
	-- Only the server's own module asks over its streams, and only while it may.
	if streams.is_outbound(session) and native.is_open() then return; end
	return unsolicited(session, element);
end

-- XEP-0220 §2.4.2
local function on_stream_features(event)
	local dialback = event.features:get_child("dialback", "urn:xmpp:features:dialback");
	if dialback and not dialback:get_child("errors") then dialback:tag("errors"):up(); end
end

local function on_established(event)
	local session = event.session;
	if session.external_auth ~= "succeeded" then return; end
	if streams.is_outbound(session) then
		report.outcome(session, "initiating", "external", session.from_host, session.to_host, "valid");
	else
		report.outcome(session, "receiving", "external", session.from_host, session.to_host, "valid");
	end
end

local HOOKS = { -- event, handler, priority; the server's own module is at 0 and 100
	{ "stanza/jabber:server:dialback:result", on_result, 10 };
	{ "stanza/jabber:server:dialback:verify", on_verify, 10 };
	{ "stanza/http://etherx.jabber.org/streams:features", on_features, 101 };
	{ "stanza/urn:ietf:params:xml:ns:xmpp-sasl:failure", on_sasl_failure, 101 };
	{ "s2sout-authenticate-legacy", on_legacy, 101 };
	{ "s2s-stream-features", on_stream_features, -10 };
	{ "s2sout-established", on_established, 0 };
	{ "s2sin-established", on_established, 0 };
	{ "iq/host", link.on_iq, 100 };
};

-- On the Component hosts of the sidecars -------------------------------------------------------

local function on_component_authenticated(event)
	local jid = event.session.host;
	outage_logged_at = -math.huge;
	sidecars.trust(jid);
	module:log("info", "dialback-sidecar connected as %s and decides every dialback of this server", jid);
	parts.report.flush();
end

local function on_component_disconnected(event)
	local jid = event.session.host;
	if link.on_disconnected(jid, event.session) and not sidecars.any_up() then
		outage_logged_at = now();
		module:log("warn", "dialback-sidecar disconnected from %s and there is no other: %s. Is it running?", jid,
			outage_effect());
	end
end

local adopted = {}; -- host name -> host

local function adopt(name)
	local host = hosts[name];
	if not host or adopted[name] then return; end
	adopted[name] = host;
	for _, hook in ipairs(HOOKS) do
		module:hook_object_event(host.events, hook[1], hook[2], hook[3]);
	end
	if not sidecars.are(name) then return; end
	if host.type ~= "component" then
		module:log("error", "dialback_sidecar_jids: %s is not a Component of this server; left out", name);
		sidecars.forget(name);
		return;
	end
	isolation.apply(host);
	module:hook_object_event(host.events, "component-authenticated", on_component_authenticated);
	module:hook_object_event(host.events, "component-disconnected", on_component_disconnected);
end

local function release(name)
	local host = adopted[name];
	if not host then return; end
	adopted[name] = nil;
	for _, hook in ipairs(HOOKS) do
		module:unhook_object_event(host.events, hook[1], hook[2]);
	end
	link.fail(name .. " was deactivated", name);
	if not sidecars.are(name) then return; end
	isolation.lift(host);
	module:unhook_object_event(host.events, "component-authenticated", on_component_authenticated);
	module:unhook_object_event(host.events, "component-disconnected", on_component_disconnected);
end

-- The core leaves the connection of a component open whose host it deactivates: the sidecar would
-- believe it is linked, and not come back when the host does.
local function hang_up(session)
	session:close({ condition = "host-gone", text = "this component was deactivated" });
end

local orphan; -- the sidecar's session on our own host, when that is being deactivated

local function on_host_deactivating(event)
	local component = event.host_session.modules.component;
	local session = sidecars.are(event.host) and component and component.session;
	if not session then return; end
	if event.host == module.host then
		orphan = session; -- module.unload comes next
	else
		link.on_disconnected(event.host, session);
		hang_up(session);
	end
end

-- Life ------------------------------------------------------------------------------------------

module:hook_global("config-reloaded", sidecars.forget_keys);
module:hook_global("host-activated", adopt);
module:hook_global("host-deactivating", on_host_deactivating);
module:hook_global("host-deactivated", release);
module:hook_global("s2s-destroyed", function (event) report.closed(event.session); end);
front.start();
for name in pairs(hosts) do adopt(name); end

-- For a reload: keys under way stay ours, and the server's own secret gets no second chance.
function module.save()
	return { streams = streams.export(), native = native.export() };
end

function module.restore(saved)
	streams.import(saved.streams or {});
	native.import(saved.native);
end

-- Requests in flight end now: as an outage when reloading, else in the server's own dialback.
function module.unload()
	is_ending = true;
	native.is_unloading = not module.reloading;
	link.fail(module.reloading and "mod_dialback_sidecar is being reloaded" or "mod_dialback_sidecar is unloaded");
	front.stop();
	if orphan then hang_up(orphan); end
end
