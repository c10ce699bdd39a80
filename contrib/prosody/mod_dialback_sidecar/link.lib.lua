-- The component link: asks a connected sidecar, and settles every request exactly once.
--
-- A request is a table:
--   host       local domain it is sent from; must be one the sidecar's link speaks for
--   job        "issue", "verify", "check" or "report"
--   iq_type    "get" or "set"
--   seconds    how long we wait in all
--   payload    function (remaining_ms) -> element without a MAC
--   done       function (reply, problem): a trusted reply element, or nil and why there is none
--
-- Never a request over s2s: it is fired on the Component's own events, and only while something
-- is connected there.

local st = require "util.stanza";
local new_id = require "util.id".medium; -- 144 random bits
local now = require "util.time".monotonic;

local mac = module:require "mac";

local xmlns = "urn:dialback-sidecar:1";
local hosts = prosody.hosts;

-- How long a sidecar that did not answer in time is asked last, or with a fallback not at all.
local SUSPECT_SECONDS, SKIPPED_SECONDS = 10, 60;
local COMPLAINT_SECONDS = 60;
local SWEEP_SECONDS = 0.1; -- how late a time-out may be noticed
local SHARE = { issue = 0.5; verify = 0.5; check = 1; report = 1 }; -- of the time left, while others could be asked
local ORDER = { issue = 1; verify = 2; check = 3; report = 4 }; -- in which requests are settled when all fail

local jids = {}; -- component JIDs in order of preference
local pending = {}; -- iq id -> attempt
local is_sweeping = false;
local link_keys = {}; -- jid -> { secret, key }
local our_origins = setmetatable({}, { __mode = "k" });
local leaving = setmetatable({}, { __mode = "v" }); -- jid -> component session that is going away
local suspect_until = {};
local complained_at = {};
local link = { xmlns = xmlns, skips_mute = false };

-- With `skips_mute`, a sidecar that was silent lately is not asked at all: somebody else decides.
-- Called with a text whenever no sidecar could answer, and when one was too slow.
function link.on_outage(problem) end -- luacheck: ignore 212
function link.on_silence(jid) end -- luacheck: ignore 212

-- An element whose attributes were checked where they were read: st.stanza would look at each again,
-- and take as long for it as for everything else about a request.
function link.element(name, attr)
	local element = st.stanza(name);
	element.attr = attr;
	return element;
end

function link.use(list)
	jids = list;
end

function link.forget(domain)
	for i = #jids, 1, -1 do
		if jids[i] == domain then table.remove(jids, i); end
	end
end

function link.is_sidecar(domain)
	for _, jid in ipairs(jids) do
		if jid == domain then return true; end
	end
	return false;
end

-- The authenticated component session behind a JID, or nil.
local function session_of(jid)
	local host = hosts[jid];
	local component = host and host.type == "component" and host.modules.component;
	if component and component.connected and component.session and component.session ~= leaving[jid] then
		return component.session;
	end
end

function link.is_up()
	for _, jid in ipairs(jids) do
		if session_of(jid) then return true; end
	end
	return false;
end

-- True when every connected sidecar left its last request unanswered.
function link.is_mute()
	for _, jid in ipairs(jids) do
		if session_of(jid) and (suspect_until[jid] or 0) < now() then return false; end
	end
	return true;
end

-- First connected JID that was not tried yet; one that was silent lately only when there is no other.
local function pick(tried)
	local last_resort, others;
	local first;
	for _, jid in ipairs(jids) do
		if not tried[jid] and session_of(jid) then
			if (suspect_until[jid] or 0) >= now() then
				last_resort = last_resort or jid;
			elseif not first then
				first = jid;
			else
				others = true;
			end
		end
	end
	if link.skips_mute then last_resort = nil; end
	return first or last_resort, others or (first and last_resort) ~= nil;
end

-- Log the same complaint once a minute at most.
local function rarely(about, level, ...)
	if now() - (complained_at[about] or -math.huge) < COMPLAINT_SECONDS then return; end
	complained_at[about] = now();
	module:log(level, ...);
end

-- The secret is looked up each time: reloading the configuration may have changed it.
local function key_of(jid)
	local secret = module:context(jid):get_option_string("component_secret");
	if not secret then return nil; end
	local known = link_keys[jid];
	if not known or known.secret ~= secret then
		known = { secret = secret, key = mac.link_key(secret) };
		link_keys[jid] = known;
	end
	return known.key;
end

local send; -- defined below, needs settle

local function settle(attempt, reply, problem)
	if pending[attempt.id] ~= attempt then return; end
	pending[attempt.id] = nil;
	our_origins[attempt.origin] = nil;
	local request = attempt.request;
	if reply then
		suspect_until[attempt.jid] = nil;
		return request.done(reply);
	end
	return send(request, problem);
end

local function time_out(attempt)
	suspect_until[attempt.jid] = now() + (link.skips_mute and SKIPPED_SECONDS or SUSPECT_SECONDS);
	rarely("silent " .. attempt.jid, "warn", "%s is connected and did not answer in time (%s): look at the log of "
		.. "dialback-sidecar", attempt.jid, attempt.request.job);
	settle(attempt, nil, "the sidecar did not answer in time");
	link.on_silence(attempt.jid);
end

local function in_order(should_fail)
	local found = {};
	for _, attempt in pairs(pending) do
		if should_fail(attempt) then found[#found + 1] = attempt; end
	end
	table.sort(found, function (a, b)
		local x, y = ORDER[a.request.job], ORDER[b.request.job];
		if x ~= y then return x < y; end
		return a.id < b.id;
	end);
	return found;
end

-- One timer for all requests; none while nothing is pending.
local function sweep()
	is_sweeping = next(pending) ~= nil;
	if not is_sweeping then return; end
	module:add_timer(SWEEP_SECONDS, sweep); -- first: a fault in what follows ends no time-outs
	local time = now();
	for _, attempt in ipairs(in_order(function (a) return a.expires <= time; end)) do
		if pending[attempt.id] == attempt then time_out(attempt); end
	end
end

-- Ask the next sidecar, or tell the request that there is none.
function send(request, problem)
	if not hosts[request.host] then
		return request.done(nil, problem or request.host .. " is not active");
	end
	local left = request.deadline - now();
	local jid, has_others;
	if left > 0.05 then
		jid, has_others = pick(request.tried);
	end
	local key = jid and key_of(jid);
	if not key then
		problem = problem or (link.is_up() and "the sidecar does not answer" or "no sidecar is connected");
		if request.deadline > 0 then link.on_outage(problem); end -- not when link.fail ended it
		return request.done(nil, problem);
	end
	request.tried[jid] = true;

	local seconds = has_others and left * SHARE[request.job] or left;
	local iq = link.element("iq", { type = request.iq_type, id = new_id(), from = request.host, to = jid });
	local made, payload = pcall(request.payload, string.format("%d", math.floor(seconds * 1000)));
	if not made then -- a fault of this module: answered as an outage, not with a stream that hangs
		module:log("error", "could not make a %s request: %s", request.job, payload);
		return request.done(nil, "the request could not be made");
	end
	iq:add_child(payload);
	local request_mac = mac.of_request(key, iq);
	iq.tags[1].attr.mac = request_mac;

	local attempt = { id = iq.attr.id, jid = jid, key = key, mac = request_mac, request = request,
		expires = now() + seconds };
	attempt.origin = {
		type = "local"; host = request.host; log = module._log;
		-- mod_component answers for a component that is not there.
		send = function () settle(attempt, nil, "the sidecar is not connected"); return true; end;
	};
	our_origins[attempt.origin] = true;
	pending[attempt.id] = attempt;
	if not is_sweeping then
		is_sweeping = true;
		module:add_timer(SWEEP_SECONDS, sweep);
	end
	if not hosts[jid].events.fire_event("iq/host", { origin = attempt.origin, stanza = iq }) then
		settle(attempt, nil, "the server did not deliver the request to " .. jid);
	end
end

function link.ask(request)
	request.deadline = now() + request.seconds;
	request.tried = {};
	return send(request);
end

-- True for the private origin of a request of ours that is under way.
function link.is_ours(origin)
	return our_origins[origin] == true;
end

-- Handler of iq/host on every host: replies to us, and nothing else, end here.
function link.on_iq(event)
	local iq, origin = event.stanza, event.origin;
	local attr = iq.attr;
	if (attr.type ~= "result" and attr.type ~= "error") or not link.is_sidecar(attr.from) then return; end
	if origin == nil or origin ~= session_of(attr.from) then return; end
	local attempt = attr.id and pending[attr.id];
	local reply = iq.tags[1];
	if not attempt then
		-- A late reply: nobody else should see the key in it.
		if reply and reply.attr.xmlns == xmlns then return true; end
		return;
	end
	if attempt.jid ~= attr.from or attempt.request.host ~= attr.to then return true; end
	if attr.type == "error" then
		local _, condition, text = iq:get_error();
		rarely("refused", "error", "%s refused a %s request of %s (%s%s): compare component_secret with the secret_file, "
			.. "and the hosts here with the domains, of its [[link]] in sidecar.toml",
			attr.from, attempt.request.job, attr.to, condition or "no condition", text and ": " .. text or "");
		settle(attempt, nil, "the sidecar refused the request");
	elseif not reply or #iq.tags ~= 1 or reply.attr.xmlns ~= xmlns
		or not mac.is_of_reply(attempt.key, attempt.mac, reply) then
		rarely("untrusted", "error", "a reply of %s does not carry the right MAC and is not believed: is something else "
			.. "than dialback-sidecar connected there, or was component_secret changed on one side only?", attr.from);
		settle(attempt, nil, "a reply of the sidecar could not be trusted");
	else
		settle(attempt, reply);
	end
	return true;
end

-- The component session behind `jid` is gone: its requests go to the next sidecar, or fail, now.
function link.on_disconnected(jid, session)
	if not session or session ~= session_of(jid) then return false; end -- somebody who never authenticated
	leaving[jid] = session;
	for _, attempt in ipairs(in_order(function (a) return a.jid == jid; end)) do
		settle(attempt, nil, "the sidecar disconnected");
	end
	return true;
end

function link.on_connected(jid)
	suspect_until[jid] = nil;
end

-- Fail requests for good, issues first: nobody else is asked.
function link.fail(problem, host)
	for _, attempt in ipairs(in_order(function (a) return not host or a.request.host == host; end)) do
		attempt.request.deadline = 0;
		settle(attempt, nil, problem);
	end
end

return link;
