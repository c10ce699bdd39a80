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
	local text = table.concat(e);
	if is_token(text) then return text; end
	local key = text:match("^[ \t\r\n]*(.-)[ \t\r\n]*$");
	return is_token(key) and key or nil;
end

-- What is on the wire, before the server's core prepares `from` and `to`.
local function as_received(stanza)
	local attr = stanza.attr;
	return { name = stanza.name, type = attr.type, from = attr.from, to = attr.to, id = attr.id };
end

-- Returns { name, type, from, to, id, key, raw } or nil and what is wrong with it.
-- `raw` is what as_received gave, for the echo. Only requests, which have no type, hold a key.
local function read(stanza, raw)
	local attr = stanza.attr;
	local element = {
		name = stanza.name, type = attr.type, raw = raw;
		from = domain(attr.from), to = domain(attr.to), id = attr.id;
	};
	if not element.from then return nil, "from"; end
	if not element.to then return nil, "to"; end
	if element.name == "verify" and not is_token(element.id) then return nil, "id"; end
	if not element.type then
		element.key = key_text(stanza);
		if not element.key then return nil, "key"; end
	end
	return element;
end

-- Answer a request: from, to and id as received, the key never (XEP-0220 §2.2.1, §2.2.2).
local function answer(session, raw, type, condition)
	local reply = st.stanza("db:" .. raw.name, { from = raw.to, to = raw.from, id = raw.id, type = type });
	if type == "error" then
		if not ERROR_TYPES[condition] then condition = "internal-server-error"; end
		reply:tag("error", { type = ERROR_TYPES[condition] }):tag(condition, { xmlns = xmlns_stanzas }):up():up();
	end
	session.sends2s(reply);
end

return {
	xmlns = xmlns_db;
	is_token = is_token;
	key_text = key_text;
	as_received = as_received;
	read = read;
	answer = answer;
};
