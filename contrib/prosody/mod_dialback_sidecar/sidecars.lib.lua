-- The sidecars there are, in order of preference, and which one to ask.

local now = require "util.time".monotonic;

local hosts = prosody.hosts;

-- How long a sidecar that did not answer in time is asked last, or with a fallback not at all.
local SUSPECT_SECONDS, SKIPPED_SECONDS = 10, 60;

return function (mac)
	local jids = {};
	local link_keys = {}; -- jid -> key
	local leaving = setmetatable({}, { __mode = "v" }); -- jid -> component session that is going away
	local suspect_until = {};

	-- With `skips_mute`, a sidecar that was silent lately is not asked at all: somebody else decides.
	local sidecars = { skips_mute = false };

	function sidecars.use(list)
		jids = list;
	end

	function sidecars.forget(domain)
		for i = #jids, 1, -1 do
			if jids[i] == domain then table.remove(jids, i); end
		end
	end

	function sidecars.are(domain)
		for _, jid in ipairs(jids) do
			if jid == domain then return true; end
		end
		return false;
	end

	-- The authenticated component session behind a JID, or nil.
	function sidecars.session_of(jid)
		local host = hosts[jid];
		local component = host and host.type == "component" and host.modules.component;
		if component and component.connected and component.session and component.session ~= leaving[jid] then
			return component.session;
		end
	end

	-- This session is of no use any more, though the server still has it.
	function sidecars.leave(jid, session)
		leaving[jid] = session;
	end

	function sidecars.any_up()
		for _, jid in ipairs(jids) do
			if sidecars.session_of(jid) then return true; end
		end
		return false;
	end

	-- It did not answer in time.
	function sidecars.suspect(jid)
		suspect_until[jid] = now() + (sidecars.skips_mute and SKIPPED_SECONDS or SUSPECT_SECONDS);
	end

	-- It answered, or has connected.
	function sidecars.trust(jid)
		suspect_until[jid] = nil;
	end

	local function is_suspect(jid)
		return suspect_until[jid] ~= nil and suspect_until[jid] >= now();
	end

	-- True when every connected sidecar left its last request unanswered.
	function sidecars.are_mute()
		for _, jid in ipairs(jids) do
			if sidecars.session_of(jid) and not is_suspect(jid) then return false; end
		end
		return true;
	end

	-- First connected JID that is not in `tried` (a set, or false); one that was silent lately only when there is
	-- no other. And whether there is another one still.
	function sidecars.pick(tried)
		local first, last_resort, has_others;
		for _, jid in ipairs(jids) do
			if not (tried and tried[jid]) and sidecars.session_of(jid) then
				if is_suspect(jid) then
					last_resort = last_resort or jid;
				elseif not first then
					first = jid;
				else
					has_others = true;
				end
			end
		end
		if sidecars.skips_mute then last_resort = nil; end
		return first or last_resort, has_others or (first and last_resort) ~= nil;
	end

	function sidecars.key_of(jid)
		local key = link_keys[jid];
		if not key then
			local secret = module:context(jid):get_option_string("component_secret");
			key = secret and mac.link_key(secret);
			link_keys[jid] = key;
		end
		return key;
	end

	-- The configuration was read again and may have other secrets.
	function sidecars.forget_keys()
		link_keys = {};
	end

	return sidecars;
end
