-- Receiving Server (XEP-0220 §2.1.2, §2.2.1): does a peer speak for the domain it presents a key for?

local now = require "util.time".monotonic;

local hosts = prosody.hosts;
local CHECK = { "chain", "encrypted", "external", "ip", "remaining", "sender", "stream", "target" };

return function (parts, options)
	local link, streams, peers, native = parts.link, parts.streams, parts.peers, parts.native;
	local elements, report, wire = parts.elements, parts.report, parts.wire;
	local KEY, CERTIFICATE = wire.kind("key", {}), wire.kind("certificate", {});

	local function log(session, element, outcome, reason, started)
		streams.log_handshake(session, "receiving", element.from, element.to, outcome, reason, started);
	end

	local function accept(session, element, reason, started)
		hosts[element.to].events.fire_event("s2s-authenticated",
			{ session = session, host = element.from, mechanism = "dialback" });
		if session.destroyed then return; end -- the server's own policy closed it
		log(session, element, "valid", reason, started);
		report.outcome(session, "receiving", "dialback", element.from, element.to, "valid");
		elements.answer(session, element, "valid");
	end

	-- XEP-0220 §2.2.1: an invalid key ends the stream, unless other pairs on it are verified.
	local function reject(session, element, reason, started)
		log(session, element, "invalid", reason, started);
		report.outcome(session, "receiving", "dialback", element.from, element.to, "invalid");
		if streams.has_verified(session) then
			return elements.answer(session, element, "error", "forbidden");
		end
		elements.answer(session, element, "invalid");
		session:close({ condition = "not-authorized", text = "the dialback key is invalid" });
	end

	local function refuse(session, element, condition, reason, started)
		log(session, element, "error", reason or condition, started or now());
		report.outcome(session, "receiving", "dialback", element.from, element.to, "error");
		elements.answer(session, element, "error", condition);
	end

	local function settle(session, element, stanza, started, reply, problem)
		local verdict = reply and reply.name == "verdict" and reply.attr;
		if verdict and verdict.type == "valid" then
			return accept(session, element, verdict.evidence, started);
		elseif verdict and verdict.type == "invalid" then
			return reject(session, element, verdict.reason, started);
		elseif verdict and verdict.type == "error" then
			return refuse(session, element, verdict.condition, verdict.reason, started);
		elseif native.takes_over() then
			session.log("info", "%s: the server's own dialback goes on with %s -> %s",
				problem or "unexpected reply", element.from, element.to);
			if native.check(session, element, stanza) then return; end
		end
		refuse(session, element, "internal-server-error", problem or "unexpected reply of the sidecar", started);
	end

	local job = link.job { name = "check", seconds = options.check_seconds, iq_type = "get",
		kind = wire.kind("check", CHECK) };

	local function children_of(session, key)
		local children = { { kind = KEY, text = key } };
		for i, certificate in ipairs(peers.base64_certificates(session)) do
			children[i + 1] = { kind = CERTIFICATE, text = certificate };
		end
		return children;
	end

	function job:done(reply, problem)
		local state = self.state;
		state.checks[self.pair], state.check_count = nil, math.max(0, state.check_count - 1);
		if streams.has_moved_on(self.session, self.stream, "s2sin", "s2sin_unauthed") then return; end
		settle(self.session, self.element, self.stanza, self.started, reply, problem);
	end

	-- A db:result that is a request, on an inbound stream. Always ours to answer.
	local function on_request(session, element, stanza)
		if hosts[element.from] then
			streams.warn_once(session, "a peer (%s) claims to be %s, which is hosted here; refused",
				session.ip, element.from);
			refuse(session, element, "not-acceptable", "a domain hosted here");
			return true;
		end
		local condition, reason = peers.refusal(session, element.from);
		if condition then
			refuse(session, element, condition, reason);
			return true;
		end

		local state, stream_id = streams.of(session), session.streamid;
		local pair = stream_id .. " " .. element.from .. " " .. element.to;
		if state.checks[pair] then return true; end -- answered with the first one
		if state.check_count >= options.check_limit then
			refuse(session, element, "resource-constraint", "too many pending on this stream");
			return true;
		end
		state.checks[pair], state.check_count = true, state.check_count + 1;

		-- COMPAT: some servers send no from and to in the stream header.
		session.from_host = session.from_host or element.from;
		session.to_host = session.to_host or element.to;

		link.ask(job, { host = element.to, sender = element.from, target = element.to, stream = stream_id,
			ip = session.ip, encrypted = session.secure and "true" or "false", chain = peers.chain_status(session),
			external = peers.external_of(session), remaining = false, children = children_of(session, element.key),
			session = session, element = element, stanza = stanza, state = state, pair = pair, started = now() });
		return true;
	end

	return { on_request = on_request };
end
