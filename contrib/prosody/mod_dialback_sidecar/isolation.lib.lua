-- Nobody but this module talks to the sidecar through the server, and the sidecar to nobody outside.
--
-- Local users, other components and remote servers all reach a Component by default. `origin.type`
-- is no test (internal components say "component" too), so nothing at all is delivered: the requests
-- of this module are written to the component's connection without being routed.

local st = require "util.stanza";

local EVENTS = {
	"iq/host"; "iq/bare"; "iq/full"; "message/host"; "message/bare"; "message/full";
	"presence/host"; "presence/bare"; "presence/full";
};
-- What leaves the component over s2s, such as a reply to a host that was deactivated meanwhile.
local OUTWARD = "route/remote";
local PRIORITY = 1000;

local isolation = {};

local function refuse(event)
	local origin, stanza = event.origin, event.stanza;
	module:log("debug", "kept a stanza of a %s away from the sidecar", origin.type);
	local attr = stanza.attr;
	if (origin.type == "c2s" or origin.type == "component") and origin.send
		and attr.type ~= "error" and attr.type ~= "result" and stanza.name ~= "presence" then
		origin.send(st.error_reply(stanza, "cancel", "service-unavailable"));
	end
	return true;
end

local function keep_inside(event)
	module:log("debug", "kept a stanza of the sidecar from leaving for %s", event.to_host);
	return true;
end

function isolation.apply(host)
	module:hook_object_event(host.events, OUTWARD, keep_inside, PRIORITY);
	for _, event in ipairs(EVENTS) do
		module:hook_object_event(host.events, event, refuse, PRIORITY);
	end
end

function isolation.lift(host)
	module:unhook_object_event(host.events, OUTWARD, keep_inside);
	for _, event in ipairs(EVENTS) do
		module:unhook_object_event(host.events, event, refuse);
	end
end

return isolation;
