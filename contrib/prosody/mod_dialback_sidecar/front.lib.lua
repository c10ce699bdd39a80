-- The first look at every dialback element, before the server's core routes it.
--
-- The core ends the stream over a `to` it does not know, and logs the element with its key.
-- XEP-0220 §2.2.1 and §2.2.2 want a dialback error and the stream left open. What is answered or
-- dropped here goes no further; the rest is read once and kept for the handlers.

local filters = require "util.filters";

local PRIORITY = 1001; -- before mod_smacks
local hosts = prosody.hosts;

return function (parts)
	local streams, elements, native = parts.streams, parts.elements, parts.native;
	local sidecars = parts.sidecars;
	local last_stanza, last_element; -- on its way to its handler, which comes next nearly always
	local front = {};

	-- Does the operator want dialback for what this stream talks to?
	local function is_for_us(session, to)
		if hosts[to] then return native.module_of(to) ~= nil; end
		local host = session.to_host;
		if session.direction == "outgoing" then host = session.from_host; end
		return not hosts[host] or native.module_of(host) ~= nil;
	end

	local function refuse(session, element, condition, reason)
		session.log("debug", "refused a db:%s: %s", element.name, reason);
		elements.answer(session, element, "error", condition);
	end

	-- Returns the element, false when it was answered or dropped, nil when it is not for this module.
	local function judge(session, stanza)
		local element, wrong = elements.read(stanza);
		if not is_for_us(session, not wrong and element.to) then return nil; end
		local host = not wrong and hosts[element.to];
		if element.type then
			-- A response: malformed, or for a domain that is not ours, it answers no request.
			if host then return element; end
			streams.warn_once(session, "a db:%s response that answers no request was dropped", element.name);
		elseif wrong then
			refuse(session, element, "bad-request", "expected a usable " .. wrong);
		elseif not host or not host.modules.s2s or sidecars.are(element.to) then
			refuse(session, element, "item-not-found", "no such domain here");
		else
			return element;
		end
		return false;
	end

	local function look(stanza, session)
		if stanza.attr.xmlns ~= elements.xmlns or session.destroyed
			or (stanza.name ~= "result" and stanza.name ~= "verify") then
			return stanza;
		end
		local element = judge(session, stanza);
		if element == false then return nil; end
		last_stanza, last_element = stanza, element;
		return stanza;
	end

	local function watch(session)
		if streams.is_inbound(session) or streams.is_outbound(session) then
			filters.add_filter(session, "stanzas/in", look, PRIORITY);
		end
	end

	local sessions = module:shared("/*/s2s/sessions");

	function front.start()
		filters.add_filter_hook(watch);
		for _, session in pairs(sessions) do watch(session); end
	end

	function front.stop()
		filters.remove_filter_hook(watch);
		for _, session in pairs(sessions) do
			filters.remove_filter(session, "stanzas/in", look);
		end
	end

	-- For the handlers; returns what `judge` does. An element that no filter saw, or that had to wait on its way
	-- for another, is judged now.
	function front.element(session, stanza)
		if stanza ~= last_stanza then return judge(session, stanza); end
		local element = last_element;
		last_stanza, last_element = nil, nil;
		return element;
	end

	return front;
end
