-- What this module remembers of each stream, and who may be told what about it.

local now = require "util.time".monotonic;

local states = setmetatable({}, { __mode = "k" });
local streams = {};

-- Survives a reload of the module.
function streams.export()
	return states;
end

function streams.import(saved)
	for session, state in pairs(saved) do
		state.checks, state.check_count, state.verify_count = {}, 0, 0; -- they failed with the old instance
		states[session] = state;
	end
end

-- checks: "sender target" -> true while one is pending; pairs: "role sender target" -> what was reported
function streams.of(session)
	local state = states[session];
	if not state then
		state = { checks = {}, check_count = 0, verify_count = 0, pairs = {} };
		states[session] = state;
	end
	return state;
end

function streams.known(session)
	return states[session];
end

-- True when an answer came too late: the stream ended, restarted or changed its role meanwhile.
function streams.has_moved_on(session, stream_id, ...)
	if session.destroyed or session.streamid ~= stream_id then return true; end
	for i = 1, select("#", ...) do
		if session.type == (select(i, ...)) then return false; end
	end
	return true;
end

function streams.is_inbound(session)
	return session.type == "s2sin" or session.type == "s2sin_unauthed";
end

function streams.is_outbound(session)
	return session.type == "s2sout" or session.type == "s2sout_unauthed";
end

-- Has any sender domain been verified on this inbound stream, by whatever mechanism?
function streams.has_verified(session)
	for _, host in pairs(session.hosts or {}) do
		if host.authed then return true; end
	end
	return false;
end

-- A warning a peer can cause is logged once per stream.
function streams.warn_once(session, text, ...)
	local state = streams.of(session);
	if state.warned then return; end
	state.warned = true;
	session.log("warn", text, ...);
end

-- The one line an operator looks for.
function streams.log_handshake(session, role, sender, target, outcome, reason, started)
	session.log("info", "dialback as %s server, %s -> %s: %s%s, %d ms", role, sender, target, outcome,
		reason and (" (" .. reason:sub(1, 100) .. ")") or "", math.floor((now() - started) * 1000 + 0.5));
end

return streams;
