-- The peer's certificates, and the server's own TLS policy (mod_s2s) applied to one domain pair.
--
-- mod_s2s enforces s2s_secure_auth for the first domain of a stream only; a pair multiplexed
-- later has to be judged here.

local verify_identity = require "util.x509".verify_identity;

local MAX_CERTIFICATES = 10;
local MAX_CERTIFICATE_CHARACTERS = 43000; -- 32 KiB of DER
local MAX_CHAIN_TEXT = 200;

local global = module:context("*");
local require_encryption = global:get_option_boolean("s2s_require_encryption", true);
local secure_auth = global:get_option_boolean("s2s_secure_auth", false);
local secure_domains = global:get_option_set("s2s_secure_domains", {});
local insecure_domains = global:get_option_set("s2s_insecure_domains", {});

local peers = {};

-- COMPAT(prosody 0.12): no ssl_peercertificate
local function leaf_of(conn, socket)
	if conn.ssl_peercertificate then return conn:ssl_peercertificate(); end
	return socket and socket.getpeercertificate and socket:getpeercertificate();
end

-- Certificates, leaf first, as the TLS library's objects; none when the peer presented none. At most `limit`.
function peers.certificates(session, limit)
	local ok, chain = pcall(function ()
		local conn = session.conn;
		local socket = conn.socket and conn:socket();
		local leaf = leaf_of(conn, socket);
		-- COMPAT(LuaSec): without a leaf, getpeerchain returns an object with nothing in it.
		if not leaf then return {}; end
		if limit == 1 then return { leaf }; end
		local found = socket and socket.getpeerchain and socket:getpeerchain();
		return found and found[1] and found or { leaf };
	end);
	return ok and chain or {};
end

-- base64 of DER without line breaks, at most ten.
function peers.base64_certificates(session, limit)
	local encoded = {};
	if not session.secure then return encoded; end
	for _, certificate in ipairs(peers.certificates(session, limit)) do
		if #encoded >= (limit or MAX_CERTIFICATES) then break; end
		local ok, pem = pcall(certificate.pem, certificate);
		local body = ok and pem and pem:match("%-%-%-%-%-BEGIN [%u ]+%-%-%-%-%-(.-)%-%-%-%-%-END");
		body = body and body:gsub("%s", "");
		if not body or #body > MAX_CERTIFICATE_CHARACTERS then break; end
		encoded[#encoded + 1] = body;
	end
	return encoded;
end

-- What the server says of the chain: "valid", or its errors.
function peers.chain_status(session)
	if not session.secure or not session.cert_chain_status then return nil; end
	if session.cert_chain_status == "valid" then return "valid"; end
	local errors = session.cert_chain_errors;
	if type(errors) == "table" then
		local texts = {};
		for _, at_depth in pairs(errors) do
			texts[#texts + 1] = type(at_depth) == "table" and table.concat(at_depth, ", ") or tostring(at_depth);
		end
		table.sort(texts);
		errors = table.concat(texts, "; ");
	end
	local text = tostring(errors or ""):gsub("[^\32-\126]", "?"):sub(1, MAX_CHAIN_TEXT);
	return text ~= "" and text or session.cert_chain_status;
end

-- Why SASL EXTERNAL did not do, for the record; nil where that was out of question.
function peers.external_of(session)
	local said = session.external_auth;
	if not session.secure or said == "succeeded" then return nil; end
	return said == "failed" and "refused" or said == "offered" and "unused" or "not-offered";
end

local function has_valid_certificate(session, domain)
	if session.cert_chain_status ~= "valid" then return false; end
	if domain == session.from_host and session.cert_identity_status == "valid" then return true; end
	local certificate = peers.certificates(session, 1)[1];
	local ok, matches = pcall(verify_identity, domain, "xmpp-server", certificate);
	return certificate ~= nil and ok and matches == true;
end

-- nil, or the condition that refuses this sender domain on an inbound stream (XEP-0220 §2.5).
function peers.refusal(session, sender)
	local must_be_secure = secure_domains:contains(sender)
		or (secure_auth and not insecure_domains:contains(sender));
	if not session.secure and (require_encryption or must_be_secure) then
		return "policy-violation", "s2s_require_encryption";
	end
	if must_be_secure and not has_valid_certificate(session, sender) then
		return "not-authorized", "s2s_secure_auth: no valid certificate for this sender domain";
	end
end

-- True when an outgoing stream may not go on to dialback.
function peers.must_encrypt(session)
	return require_encryption and not session.secure;
end

return peers;
