-- Initiating Server (XEP-0220 §2.1.1): which key do we send on an outgoing stream?

local errors = require "util.error";
local now = require "util.time".monotonic;

return function (parts, options)
	local link, sidecars, streams, peers, native = parts.link, parts.sidecars, parts.streams, parts.peers, parts.native;
	local elements, report, wire = parts.elements, parts.report, parts.wire;
	local escape = wire.escape;
	local ISSUE = wire.kind("issue",
		{ "certificate", "encrypted", "external", "ip", "remaining", "sender", "stream", "target" });
	local CERTIFICATE = wire.kind("certificate", {});

	-- End the stream; what is queued returns to its senders, and the next stanza tries again.
	local function give_up(session, reason, condition, text)
		session:close(nil, reason, errors.new({ type = "wait", condition = condition, text = text }));
	end

	local function send_key(session, key)
		session.dialback_key = key; -- the server's own mark of a request made on this stream
		session.sends2s("<db:result from='" .. escape(session.from_host) .. "' to='" .. escape(session.to_host) .. "'>"
			.. escape(key) .. "</db:result>");
		session.log("debug", "sent the dialback key");
	end

	local function fail(session, started, outcome, reason)
		streams.log_handshake(session, "initiating", session.from_host, session.to_host, outcome, reason, started);
		give_up(session, "no dialback key: " .. reason, "remote-server-timeout",
			"could not authenticate to the remote server");
	end

	local job = link.job { name = "issue", seconds = options.seconds, kind = ISSUE, iq_type = "set", joins = true };

	-- The peer's certificate is left out as long as nobody wants it: few rules do, and to encode it makes more
	-- garbage than all the rest of a request.
	local function ask_with_certificate(request)
		local leaf = peers.base64_certificates(request.session, 1)[1];
		request.certificate, request.is_wanted = false, true;
		request.children = leaf and { { kind = CERTIFICATE, text = leaf } };
		return link.ask_again(request);
	end

	function job:done(reply, problem)
		local session, started = self.session, self.started;
		if streams.has_moved_on(session, self.stream, "s2sout_unauthed") then return; end
		local key = reply and reply.name == "key" and elements.key_text(reply);
		if key then
			send_key(session, key);
		elseif reply and reply.name == "verdict" and reply.attr.type == "error" then
			if self.certificate and reply.attr.reason == "certificate-wanted" then
				return ask_with_certificate(self); -- once
			end
			fail(session, started, "no key", reply.attr.reason or reply.attr.condition or "refused");
		elseif not self.is_wanted and native.takes_over() and native.issue(session) then -- not around a rule
			session.log("info", "%s: the server's own dialback goes on with %s -> %s",
				problem or "unexpected reply", session.from_host, session.to_host);
		else
			fail(session, started, "error", problem or "unexpected reply of the sidecar");
		end
	end

	local function ask(session, stream_id, started)
		link.ask(job, { host = session.from_host, sender = session.from_host, target = session.to_host,
			stream = stream_id, ip = session.ip, encrypted = session.secure and "true" or "false",
			external = peers.external_of(session),
			certificate = session.secure and "on-demand" or false, is_wanted = false,
			children = false, remaining = false, session = session, started = started, deadline = 0, attempt = false,
			tried = false });
	end

	-- The stream is ready for dialback. Returns true: the server's own module stays out of it.
	local function start(session)
		local state, stream_id = streams.of(session), session.streamid;
		if session.type ~= "s2sout_unauthed" then return true; end
		if state.issue_stream == stream_id then return true; end -- features may be repeated; one key is enough
		state.issue_stream, state.issue_started = stream_id, now();

		if peers.must_encrypt(session) then
			session:close({ condition = "policy-violation",
				text = "Encrypted server-to-server communication is required but was not offered" },
				nil, "Could not establish encrypted connection to remote server");
		elseif sidecars.are(session.from_host) then
			give_up(session, "the sidecar's own domain does not federate", "not-allowed");
		elseif not elements.is_token(stream_id) then
			streams.warn_once(session, "the peer's stream ID has more than 256 or unusual characters: no dialback with %s",
				session.to_host);
			give_up(session, "unusable stream ID", "remote-server-timeout");
		else
			ask(session, stream_id, state.issue_started);
		end
		return true;
	end

	-- A db:result on an outgoing stream. Returns nil when the server's own module may finish it.
	local function on_result(session, element)
		local state = streams.of(session);
		local is_awaited = session.type == "s2sout_unauthed" and session.dialback_key and not state.was_answered
			and session.external_auth ~= "attempting" and session.external_auth ~= "succeeded"
			and element.from == session.to_host and element.to == session.from_host;
		if not is_awaited then -- XEP-0220 §3.1
			streams.warn_once(session, "%s sent a dialback result nobody asked for on this stream; ignored",
				session.to_host);
			return true;
		end
		state.was_answered = true;
		local outcome = (element.type == "valid" or element.type == "invalid") and element.type or "error";
		streams.log_handshake(session, "initiating", element.to, element.from, outcome, nil,
			state.issue_started or now());
		report.outcome(session, "initiating", "dialback", element.to, element.from, outcome);
		if outcome == "valid" then return nil; end
		if outcome == "invalid" then
			give_up(session, "the peer called our dialback key invalid", "internal-server-error",
				"the remote server did not accept our identity");
		else
			give_up(session, "the peer could not check our dialback key", "remote-server-timeout",
				"the remote server could not check our identity");
		end
		return true;
	end

	return { start = start, on_result = on_result };
end
