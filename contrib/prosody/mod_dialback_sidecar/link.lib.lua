-- The component link: asks a connected sidecar, and settles every request exactly once.
--
-- A request is an object of a job (link.job) with
--   host       local domain it is sent from; must be one the sidecar's link speaks for
-- and what its job needs. It is settled with a call of
--   request:done(reply, problem)      a trusted reply element, or nil and why there is none
--
-- Here is who is asked, for how long, and what the reply settles; how requests travel is attempts.lib.lua.

local now = require "util.time".monotonic;

local hosts = prosody.hosts;

local COMPLAINT_SECONDS = 60;
local SWEEP_SECONDS = 0.1; -- how late a time-out may be noticed
local SHARE = { issue = 0.5; verify = 0.5; check = 1; report = 1 }; -- of the time left, while others could be asked
local ORDER = { issue = 1; verify = 2; check = 3; report = 4 }; -- in which requests are settled when all fail

return function (parts)
	local sidecars, attempts, wire, mac = parts.sidecars, parts.attempts, parts.wire, parts.mac;
	local is_sweeping = false;
	local complained_at = {};
	local link = {};

	-- Called with a text whenever no sidecar could answer, and when one was too slow.
	function link.on_outage(problem) end -- luacheck: ignore 212
	function link.on_silence(jid) end -- luacheck: ignore 212

	-- A kind of request:
	--   name       "issue", "verify", "check" or "report"
	--   seconds    how long we wait in all
	--   kind       of the element that it is (wire.lib.lua)
	--   iq_type    "get" or "set"
	--   joins      whether it may share a stanza with others, as long as it has no children
	--   done       see above
	function link.job(job)
		job.__index = job;
		return job;
	end

	-- Log the same complaint once a minute at most.
	local function rarely(about, level, ...)
		if now() - (complained_at[about] or -math.huge) < COMPLAINT_SECONDS then return; end
		complained_at[about] = now();
		module:log(level, ...);
	end

	local try; -- defined below, needs settle

	local function settle(request, reply, problem)
		local attempt = request.attempt;
		if not attempt then return; end
		request.attempt = false;
		if reply then return request:done(reply); end
		request.tried = request.tried or {};
		request.tried[attempt.jid] = true;
		return try(request, problem);
	end

	-- The requests of these attempts, in the order in which to settle them.
	local function in_order(failed)
		local found = {};
		for _, attempt in ipairs(failed) do
			for _, request in ipairs(attempt.requests) do found[#found + 1] = request; end
		end
		local place = {};
		for i, request in ipairs(found) do place[request] = i; end
		table.sort(found, function (a, b)
			local x, y = ORDER[a.name], ORDER[b.name];
			if x ~= y then return x < y; end
			return place[a] < place[b];
		end);
		return found;
	end

	local function fail(failed, problem)
		for _, attempt in ipairs(failed) do attempts.retire(attempt); end
		for _, request in ipairs(in_order(failed)) do settle(request, nil, problem); end
	end

	function attempts.on_failure(attempt, problem)
		fail({ attempt }, problem);
	end

	local function time_out(attempt)
		if attempts.find(attempt.id) ~= attempt then return; end
		local jid = attempt.jid;
		sidecars.suspect(jid);
		rarely("silent " .. jid, "warn", "%s is connected and did not answer in time (%s): look at the log of "
			.. "dialback-sidecar", jid, attempt.requests[1].name);
		fail({ attempt }, "the sidecar did not answer in time");
		link.on_silence(jid);
	end

	-- One timer for all requests; none while nothing is pending.
	local function sweep()
		is_sweeping = attempts.are_there();
		if not is_sweeping then return; end
		module:add_timer(SWEEP_SECONDS, sweep); -- first: a fault in what follows ends no time-outs
		local time = now();
		local late = attempts.that(function (attempt) return attempt.expires <= time; end);
		table.sort(late, function (a, b) return ORDER[a.requests[1].name] < ORDER[b.requests[1].name]; end);
		for _, attempt in ipairs(late) do time_out(attempt); end
	end

	local function start_sweeping()
		if is_sweeping then return; end
		is_sweeping = true;
		module:add_timer(SWEEP_SECONDS, sweep);
	end

	-- Ask the next sidecar, or tell the request that there is none.
	function try(request, problem)
		if not hosts[request.host] then
			return request:done(nil, problem or request.host .. " is not active");
		end
		local time = now();
		local left = request.deadline - time;
		local jid, has_others;
		if left > 0.05 then
			jid, has_others = sidecars.pick(request.tried);
		end
		local key = jid and sidecars.key_of(jid);
		if not key then
			problem = problem or (sidecars.any_up() and "the sidecar does not answer" or "no sidecar is connected");
			if request.deadline > 0 then link.on_outage(problem); end -- not when link.fail ended it
			return request:done(nil, problem);
		end
		local expires = time + (has_others and left * SHARE[request.name] or left);
		start_sweeping();
		attempts.put(request, jid, key, expires);
	end

	function link.ask(job, request)
		request.deadline, request.attempt, request.tried = now() + job.seconds, false, false;
		return try(setmetatable(request, job));
	end

	-- The same once more, after an answer that asks for it; in the time that is left.
	function link.ask_again(request)
		return try(request);
	end

	local function complain_of_refusal(attempt, request, condition, text)
		rarely("refused", "error", "%s refused a %s request of %s (%s%s): compare component_secret with the secret_file, "
			.. "and the hosts here with the domains, of its [[link]] in sidecar.toml", attempt.jid, request.name,
			attempt.host, condition or "no condition", text and text ~= "" and ": " .. text or "");
	end

	-- Settle what an attempt asked with what its reply says, each by itself.
	local function take(attempt, reply)
		attempts.retire(attempt);
		sidecars.trust(attempt.jid);
		if reply.name ~= "answers" then return settle(attempt.requests[1], reply); end
		for i, request in ipairs(attempt.requests) do
			local answer = reply.tags[i];
			if answer.name == "refused" then
				complain_of_refusal(attempt, request, answer.attr.condition, answer:get_text());
				settle(request, nil, "the sidecar refused the request");
			else
				settle(request, answer);
			end
		end
	end

	-- A batch gets as many answers as it has requests, anything else one that is none.
	local function fits(attempt, iq, reply)
		if not reply or #iq.tags ~= 1 or reply.attr.xmlns ~= wire.xmlns or not attempt.mac then return false; end
		local is_batch = #attempt.requests > 1;
		if (reply.name == "answers") ~= is_batch or (is_batch and #reply.tags ~= #attempt.requests) then return false; end
		return mac.is_of_reply(attempt.key, attempt.mac, reply);
	end

	-- Handler of iq/host on every host: replies to us, and nothing else, end here.
	function link.on_iq(event)
		local iq, origin = event.stanza, event.origin;
		local attr = iq.attr;
		if (attr.type ~= "result" and attr.type ~= "error") or not sidecars.are(attr.from) then return; end
		if origin == nil or origin ~= sidecars.session_of(attr.from) then return; end
		local attempt = attr.id and attempts.find(attr.id);
		local reply = iq.tags[1];
		if not attempt then
			-- A late reply: nobody else should see the key in it.
			if reply and reply.attr.xmlns == wire.xmlns then return true; end
			return;
		end
		if attempt.jid ~= attr.from or attempt.host ~= attr.to then return true; end
		if attr.type == "error" then
			local _, condition, text = iq:get_error();
			complain_of_refusal(attempt, attempt.requests[1], condition, text);
			fail({ attempt }, "the sidecar refused the request");
		elseif not fits(attempt, iq, reply) then
			rarely("untrusted", "error", "a reply of %s does not carry the right MAC and is not believed: is something else "
				.. "than dialback-sidecar connected there, or was component_secret changed on one side only?", attr.from);
			fail({ attempt }, "a reply of the sidecar could not be trusted");
		else
			take(attempt, reply);
		end
		return true;
	end

	-- The component session behind `jid` is gone: its requests go to the next sidecar, or fail, now.
	function link.on_disconnected(jid, session)
		if not session or session ~= sidecars.session_of(jid) then return false; end -- somebody who never authenticated
		sidecars.leave(jid, session);
		fail(attempts.that(function (attempt) return attempt.jid == jid; end), "the sidecar disconnected");
		return true;
	end

	-- Fail requests for good, issues first: nobody else is asked.
	function link.fail(problem, host)
		local failed = attempts.that(function (attempt) return not host or attempt.host == host; end);
		for _, attempt in ipairs(failed) do
			for _, request in ipairs(attempt.requests) do request.deadline = 0; end
		end
		fail(failed, problem);
	end

	return link;
end
