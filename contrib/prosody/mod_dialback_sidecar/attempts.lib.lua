-- Attempts: the stanzas to sidecars, with one request or several, from being collected to being settled.
--
-- What is asked in one turn of the server's event loop goes out at its end, in one stanza where there are several
-- and the job allows it. Never a request over s2s: it is written to the component's own connection or nowhere.

local ID_PREFIX = require "util.id".medium() .. "-"; -- 144 random bits for each life of this module, then a number
local now = require "util.time".monotonic;
local add_task = require "util.timer".add_task;

local BATCH = 64; -- without certificates that is less than the 512 KiB of a stanza

return function (sidecars, wire)
	local BATCH_KIND = wire.kind("batch", { "remaining" });
	local pending = {}; -- iq id -> attempt, sent or about to be
	local open = {}; -- jid -> host -> the attempt that further requests join until the end of this turn
	local is_flushing, count = false, 0;
	local attempts = {};

	-- Called when an attempt could not be sent, with the reason; it retires it.
	function attempts.on_failure(attempt, problem) end -- luacheck: ignore 212

	function attempts.find(id)
		return pending[id];
	end

	function attempts.are_there()
		return next(pending) ~= nil;
	end

	-- A list of those for which `is_meant` is true.
	function attempts.that(is_meant)
		local found = {};
		for _, attempt in pairs(pending) do
			if is_meant(attempt) then found[#found + 1] = attempt; end
		end
		return found;
	end

	-- No further request joins this attempt.
	local function close(attempt)
		local by_host = open[attempt.jid];
		if by_host and by_host[attempt.host] == attempt then by_host[attempt.host] = nil; end
	end

	-- Nor does any reply settle what is in it.
	function attempts.retire(attempt)
		pending[attempt.id] = nil;
		close(attempt);
	end

	-- Several requests make a batch.
	local function payload_of(attempt, remaining)
		local requests = attempt.requests;
		if #requests > 1 then return { kind = BATCH_KIND, remaining = remaining, children = requests }; end
		requests[1].remaining = remaining;
		return requests[1];
	end

	local function send(attempt)
		close(attempt);
		local session = sidecars.session_of(attempt.jid);
		if not session then return attempts.on_failure(attempt, "the sidecar is not connected"); end
		local request = attempt.requests[1];
		local remaining = math.max(0, math.floor((attempt.expires - now()) * 1000));
		local payload = payload_of(attempt, string.format("%d", remaining));
		attempt.type = payload.iq_type or "set";
		local made, stanza, request_mac = pcall(wire.request, attempt.key, attempt, payload);
		if not made then -- a fault of this module: answered as an outage, not with a stream that hangs
			module:log("error", "could not make a %s request: %s", request.name, stanza);
			return attempts.on_failure(attempt, "the request could not be made");
		end
		attempt.mac = request_mac;
		session.send(stanza);
	end

	local function flush()
		is_flushing = false;
		local collected = {};
		for _, by_host in pairs(open) do
			for _, attempt in pairs(by_host) do collected[#collected + 1] = attempt; end
		end
		for _, attempt in ipairs(collected) do send(attempt); end
	end

	local function attempt_for(request, jid, key, expires)
		count = count + 1;
		local attempt = { id = ID_PREFIX .. count, jid = jid, host = request.host, key = key, expires = expires,
			requests = {}, type = false, mac = false };
		pending[attempt.id] = attempt;
		return attempt;
	end

	local function add(attempt, request)
		request.attempt, request.remaining = attempt, false;
		attempt.requests[#attempt.requests + 1] = request;
	end

	-- Put a request into the stanza that is being collected for this sidecar and host.
	local function join(request, jid, key, expires)
		local by_host = open[jid];
		if not by_host then
			by_host = {};
			open[jid] = by_host;
		end
		local attempt = by_host[request.host];
		if not attempt then
			attempt = attempt_for(request, jid, key, expires);
			by_host[request.host] = attempt;
			if not is_flushing then
				is_flushing = true;
				add_task(0, flush); -- runs before the server waits for events again
			end
		end
		add(attempt, request);
		if attempt.expires > expires then attempt.expires = expires; end
		if #attempt.requests == BATCH then send(attempt); end
	end

	-- Send a request to this sidecar, or put it into what is about to be sent; request.attempt says where it is.
	function attempts.put(request, jid, key, expires)
		if request.joins and not request.children then return join(request, jid, key, expires); end
		local attempt = attempt_for(request, jid, key, expires);
		add(attempt, request);
		send(attempt);
	end

	return attempts;
end
