-- Reading and answering db:result and db:verify.

local st = require "util.stanza";
local nameprep = require "util.encodings".stringprep.nameprep;
local to_ascii = require "util.encodings".idna.to_ascii;

local xmlns_db = "jabber:server:dialback";
local xmlns_stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas";

-- The conditions a dialback error may carry (XEP-0220 §2.5), with their stanza error type.
local ERROR_TYPES = {
	["bad-request"] = "modify";
	["forbidden"] = "auth";
	["internal-server-error"] = "wait";
	["item-not-found"] = "cancel";
	["not-acceptable"] = "modify";
	["not-authorized"] = "auth";
	["policy-violation"] = "modify";
	["remote-connection-failed"] = "wait";
	["remote-server-not-found"] = "cancel";
	["remote-server-timeout"] = "wait";
	["resource-constraint"] = "wait";
};

local VISIBLE = "^[\33-\126]+$";
local MAX_CHARACTERS = 256;

local function is_token(text)
	return text ~= nil and #text <= MAX_CHARACTERS and text:find(VISIBLE) ~= nil;
end

-- True for most names there are: nothing to prepare, nothing to look at label by label.
local function is_plain(text)
	return #text <= 63 and text:find("^[a-z0-9_][a-z0-9_.-]*[a-z0-9_]$") ~= nil
		and not text:find("[.-]%.") and not text:find(".-", 1, true);
end

-- The domain as Prosody writes it, or nil when the text is no domain name.
local function domain(text)
	if text and is_plain(text) then return text; end
	local name = text and #text <= 1023 and nameprep(text);
	if not name or name == "" then return nil; end
	if name:find("[\128-\255]") then
		return to_ascii(name) and name or nil;
	end
	if #name > 253 then return nil; end
	for label in (name .. "."):gmatch("([^.]*)%.") do
		if #label > 63 or not (label:find("^[%w_]$") or label:find("^[%w_][%w_-]*[%w_]$")) then return nil; end
	end
	return name;
end

-- A key without the XML white space around it, or nil. Never log what this returns.
local function key_text(e)
	if #e.tags > 0 then return nil; end
	local text = e[2] and table.concat(e) or e[1] or "";
	if is_token(text) then return text; end
	local key = text:match("^[ \t\r\n]*(.-)[ \t\r\n]*$");
	return is_token(key) and key or nil;
end

-- Returns { name, type, from, to, id, key, raw_from, raw_to }, and what is wrong with it if anything is.
-- `raw_from` and `raw_to` are as on the wire, before the server's core prepares them: for the echo. Only requests,
-- which have no type, hold a key.
local function read(stanza)
	local attr = stanza.attr;
	local element = {
		name = stanza.name, type = attr.type, id = attr.id, raw_from = attr.from, raw_to = attr.to;
		from = domain(attr.from), to = domain(attr.to);
		key = not attr.type and key_text(stanza) or nil;
	};
	if not element.from then return element, "from"; end
	if not element.to then return element, "to"; end
	if element.name == "verify" and not is_token(element.id) then return element, "id"; end
	if not element.type and not element.key then return element, "key"; end
	return element;
end

return function (wire)
	local escape = wire.escape;

	-- As text: an element object would cost as much as all the rest of an answer.
	local function outcome_text(element, type)
		return "<db:" .. element.name .. " from='" .. escape(element.raw_to) .. "' to='" .. escape(element.raw_from)
			.. (element.id and "' id='" .. escape(element.id) or "") .. "' type='" .. type .. "'/>";
	end

	-- Answer a request: from, to and id as received, the key never (XEP-0220 §2.2.1, §2.2.2).
	local function answer(session, element, type, condition)
		if type ~= "error" then return session.sends2s(outcome_text(element, type)); end
		if not ERROR_TYPES[condition] then condition = "internal-server-error"; end
		session.sends2s(st.stanza("db:" .. element.name,
				{ from = element.raw_to, to = element.raw_from, id = element.id, type = type })
			:tag("error", { type = ERROR_TYPES[condition] }):tag(condition, { xmlns = xmlns_stanzas }));
	end

	return {
		xmlns = xmlns_db;
		is_token = is_token;
		key_text = key_text;
		read = read;
		answer = answer;
	};
end
