-- Authoritative Server (XEP-0220 §2.2.2): is the key that a peer asks about one of ours?

local now = require "util.time".monotonic;

return function (parts, options)
	local link, wire, streams, native, elements = parts.link, parts.wire, parts.streams, parts.native, parts.elements;
	local VERIFY = wire.kind("verify", { "ip", "remaining", "sender", "stream", "target" });

	local function answer(request, outcome, condition, reason)
		local session, element = request.session, request.element;
		streams.log_handshake(session, "authoritative", element.to, element.from, outcome, reason or condition,
			request.started);
		elements.answer(session, element, outcome, condition);
	end

	local verify = link.job { name = "verify", seconds = options.seconds, kind = VERIFY, iq_type = "get", joins = true };

	function verify:done(reply, problem)
		local session, state = self.session, self.state;
		state.verify_count = math.max(0, state.verify_count - 1);
		if streams.has_moved_on(session, self.on_stream, "s2sin", "s2sin_unauthed", "s2sout", "s2sout_unauthed") then
			return;
		end
		local verdict = reply and reply.name == "verdict" and reply.attr;
		if verdict and (verdict.type == "valid" or verdict.type == "invalid") then
			answer(self, verdict.type, nil, verdict.reason);
		elseif verdict and verdict.type == "error" then
			answer(self, "error", verdict.condition, verdict.reason);
		elseif native.takes_over() and native.accepts(self.element) then
			native.verify(session, self.element, self.stanza);
		else
			-- Our outage, or a key the sidecar issued: the server's own secret cannot tell.
			answer(self, "error", "internal-server-error", problem or "unexpected reply of the sidecar");
		end
	end

	-- A db:verify that is a request. Returns nil when the server's own module may answer it.
	local function on_request(session, element, stanza)
		if native.accepts(element) then return nil; end
		local state = streams.of(session);
		if state.verify_count >= options.verify_limit then
			elements.answer(session, element, "error", "resource-constraint");
			return true;
		end
		state.verify_count = state.verify_count + 1;
		-- The target domain of the pair is the one that asks: the peer is the Receiving Server.
		link.ask(verify, { host = element.to, sender = element.to, target = element.from, stream = element.id,
			ip = session.ip, text = element.key, remaining = false,
			element = element, stanza = stanza, session = session, state = state,
			on_stream = session.streamid, started = now(), deadline = 0, attempt = false, tried = false });
		return true;
	end

	return { on_request = on_request };
end
