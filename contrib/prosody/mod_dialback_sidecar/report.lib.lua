-- Telling the sidecar what became of each domain pair, in batches. Best effort: nothing waits for it.

local BATCH = 64;
local FLUSH_SECONDS = 1;
local MAX_WAITING = 1024;

local roles = { initiating = "sender"; receiving = "target"; authoritative = "sender" }; -- which domain is local

return function (parts, options)
	local link, sidecars, streams, elements = parts.link, parts.sidecars, parts.streams, parts.elements;
	local wire = parts.wire;
	local OUTCOME = wire.kind("outcome", { "mechanism", "role", "sender", "stream", "target", "type" });
	local report = {};
	local waiting, dropped = {}, 0; -- outcomes in the order they came
	local timer;

	local job = link.job { name = "report", seconds = options.seconds, iq_type = "set",
		kind = wire.kind("report", {}) };

	function job:done(_, problem)
		if problem then module:log("debug", "%d outcomes were not reported: %s", #self.children, problem); end
	end

	local function send(host, outcomes)
		link.ask(job, { host = host, children = outcomes });
	end

	-- One batch per local domain: each must belong to the link on its own.
	function report.flush()
		timer = nil;
		if #waiting == 0 or not sidecars.any_up() then return; end
		if dropped > 0 then
			module:log("debug", "%d outcomes were dropped while no sidecar was connected", dropped);
			dropped = 0;
		end
		local batches = {};
		for _, outcome in ipairs(waiting) do
			local host = outcome[roles[outcome.role]];
			local batch = batches[host] or {};
			batches[host] = batch;
			batch[#batch + 1] = outcome;
			if #batch == BATCH then
				send(host, batch);
				batches[host] = nil;
			end
		end
		waiting = {};
		for host, batch in pairs(batches) do send(host, batch); end
	end

	local function add(outcome)
		if not elements.is_token(outcome.stream) then return; end
		if #waiting >= MAX_WAITING then
			table.remove(waiting, 1);
			dropped = dropped + 1;
		end
		waiting[#waiting + 1] = outcome;
		if not timer then timer = module:add_timer(FLUSH_SECONDS, report.flush); end
	end

	function report.outcome(session, role, mechanism, sender, target, type)
		local pairs_of_stream = streams.of(session).pairs;
		local name = role .. " " .. sender .. " " .. target;
		local known = pairs_of_stream[name];
		if known and known.type == type and known.mechanism == mechanism then return; end
		local outcome = { kind = OUTCOME, role = role, mechanism = mechanism, sender = sender, target = target,
			stream = session.streamid, type = type };
		if type == "valid" then pairs_of_stream[name] = outcome; end
		add(outcome);
	end

	-- A stream with verified pairs, or with a key nobody answered, is gone.
	function report.closed(session)
		local state = streams.known(session);
		if not state then return; end
		for _, outcome in pairs(state.pairs) do
			add { kind = OUTCOME, role = outcome.role, mechanism = outcome.mechanism, sender = outcome.sender,
				target = outcome.target, stream = outcome.stream, type = "closed" };
		end
		state.pairs = {};
		if session.dialback_key and state.issue_stream and not state.was_answered then
			add { kind = OUTCOME, role = "initiating", mechanism = "dialback", sender = session.from_host,
				target = session.to_host, stream = state.issue_stream, type = "closed" };
		end
	end

	return report;
end
