-- Authoritative Server (XEP-0220 §2.2.2): is the key that a peer asks about one of ours?

local now = require "util.time".monotonic;

return function (parts, options)
	local link, streams, native, elements = parts.link, parts.streams, parts.native, parts.elements;

	local function answer(session, element, outcome, condition, reason, started)
		streams.log_handshake(session, "authoritative", element.to, element.from, outcome, reason or condition, started);
		elements.answer(session, element.raw, outcome, condition);
	end

	-- A db:verify that is a request. Returns nil when the server's own module may answer it.
	local function on_request(session, element, stanza)
		if native.accepts(element) then return nil; end
		local state, stream_id, started = streams.of(session), session.streamid, now();
		if state.verify_count >= options.verify_limit then
			elements.answer(session, element.raw, "error", "resource-constraint");
			return true;
		end
		state.verify_count = state.verify_count + 1;
		link.ask {
			-- The target domain of the pair is the one that asks: the peer is the Receiving Server.
			host = element.to; job = "verify"; iq_type = "get"; seconds = options.seconds;
			payload = function (remaining)
				return link.element("verify", { xmlns = link.xmlns, sender = element.to, target = element.from,
					stream = element.id, ip = session.ip, remaining = remaining }):text(element.key);
			end;
			done = function (reply, problem)
				state.verify_count = math.max(0, state.verify_count - 1);
				if streams.has_moved_on(session, stream_id, "s2sin", "s2sin_unauthed", "s2sout", "s2sout_unauthed") then
					return;
				end
				local verdict = reply and reply.name == "verdict" and reply.attr;
				if verdict and (verdict.type == "valid" or verdict.type == "invalid") then
					answer(session, element, verdict.type, nil, verdict.reason, started);
				elseif verdict and verdict.type == "error" then
					answer(session, element, "error", verdict.condition, verdict.reason, started);
				elseif native.takes_over() and native.accepts(element) then
					native.verify(session, element, stanza);
				else
					-- Our outage, or a key the sidecar issued: the server's own secret cannot tell.
					answer(session, element, "error", "internal-server-error",
						problem or "unexpected reply of the sidecar", started);
				end
			end;
		};
		return true;
	end

	return { on_request = on_request };
end
