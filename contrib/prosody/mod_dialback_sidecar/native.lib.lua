-- Handing back to the server's own mod_dialback, which stays loaded everywhere.
--
-- Happens when the module is unloaded (the operator undid it), and on an outage with
-- dialback_sidecar_fallback = "native". For two minutes after either, and after the module was
-- loaded on a running server, keys of the server's own secret are still accepted: some are under
-- way. After that its secret proves nothing any more.

local now = require "util.time".monotonic;

local KEYS_LIVE_SECONDS = 120;

local hosts = prosody.hosts;
local passing = setmetatable({}, { __mode = "k" }); -- stanzas that our own hooks let through
local native = { is_fallback = false, is_unloading = false };
-- While the server is still starting it has issued nothing.
local accept_until = prosody.start_time and now() + KEYS_LIVE_SECONDS or 0;

function native.export()
	return accept_until;
end

function native.import(saved)
	accept_until = saved or 0;
end

function native.takes_over()
	return native.is_fallback or native.is_unloading;
end

-- The environment of mod_dialback on one of our hosts; nil where the operator switched it off.
function native.module_of(host)
	return hosts[host] and hosts[host].modules.dialback;
end

function native.is_open()
	return now() < accept_until;
end

local function open()
	accept_until = now() + KEYS_LIVE_SECONDS;
end

function native.lets_through(stanza)
	return passing[stanza] == true;
end

local function pass(host, name, session, stanza)
	passing[stanza] = true;
	hosts[host].events.fire_event("stanza/jabber:server:dialback:" .. name, { origin = session, stanza = stanza });
	passing[stanza] = nil;
end

function native.issue(session)
	local stock = native.module_of(session.from_host);
	if not stock or not stock.initiate_dialback then return false; end
	open();
	stock.initiate_dialback(session);
	return true;
end

function native.check(session, element, stanza)
	if not native.module_of(element.to) then return false; end
	open();
	pass(element.to, "result", session, stanza);
	return true;
end

-- Only after native.accepts said yes.
function native.verify(session, element, stanza)
	pass(element.to, "verify", session, stanza);
end

-- Is this key one that the server's own secret issued, in the time in which that counts?
function native.accepts(element)
	local stock = native.is_open() and native.module_of(element.to);
	return stock and stock.verify_dialback
		and stock.verify_dialback(element.id, element.from, element.to, element.key) == true;
end

return native;
