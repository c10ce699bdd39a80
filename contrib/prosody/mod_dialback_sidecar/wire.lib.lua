-- Requests as text that is ready to send, with their MAC (docs/link-protocol.md, "The MAC").
--
-- No element objects in between: they, and what the core would do to route them, cost several times
-- as much as all the rest of a request, most of it in the garbage collector.

local hmac_sha256 = require "util.hashes".hmac_sha256;
local concat = table.concat;

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&apos;", ['"'] = "&quot;",
	["\t"] = "&#9;", ["\n"] = "&#10;", ["\r"] = "&#13;" };
local SPECIAL = "[&<>'\"\t\r\n]";

local wire = { xmlns = "urn:dialback-sidecar:1" };

-- For text and attribute values.
function wire.escape(text)
	if not text:find(SPECIAL) then return text; end
	return (text:gsub(SPECIAL, ESCAPES));
end
local escape = wire.escape;

-- "6:" for 6: what stands before each field that a MAC covers
local length_of = setmetatable({}, { __index = function (known, length)
	local text = length .. ":";
	if length < 4096 then known[length] = text; end
	return text;
end });

local function field(text)
	return length_of[#text] .. text;
end

-- A kind of element with these attributes, which must be in the order of their names.
function wire.kind(name, attributes)
	local kind = { names = attributes, written = {}, covered = {}, open = "<" .. name, close = "</" .. name .. ">",
		field = field(name) };
	for i, attribute in ipairs(attributes) do
		kind.written[i], kind.covered[i] = " " .. attribute .. "='", field(attribute);
	end
	return kind;
end

-- Filled anew by each call of what follows: pieces of XML, and of what the MAC covers.
local written, covered = {}, {};

local function put_attributes(kind, values, w, c)
	local present, count_at = 0, c + 1;
	c = count_at;
	for i, name in ipairs(kind.names) do
		local value = values[name];
		if value then
			present = present + 1;
			written[w + 1], written[w + 2], written[w + 3] = kind.written[i], escape(value), "'";
			covered[c + 1], covered[c + 2], covered[c + 3] = kind.covered[i], length_of[#value], value;
			w, c = w + 3, c + 3;
		end
	end
	covered[count_at] = field(tostring(present));
	return w, c;
end

local function put_children(children, w, c)
	local count = children and #children or 0;
	c = c + 1;
	covered[c] = field(tostring(count));
	for i = 1, count do
		written[w + i], covered[c + i] = children[i], children.covered[i];
	end
	return w + count, c + count;
end

-- An element below the payload, as XML and as the MAC covers it. `values` has the attributes, `children`
-- is a list of what this function gave, its second results in the list `children.covered`.
function wire.element(kind, values, text, children)
	text = text or "";
	written[1] = kind.open;
	covered[1], covered[2], covered[3] = kind.field, length_of[#text], text;
	local w, c = put_attributes(kind, values, 1, 3);
	written[w + 1], written[w + 2] = ">", escape(text);
	w, c = put_children(children, w + 2, c);
	written[w + 1] = kind.close;
	return concat(written, "", 1, w + 1), concat(covered, "", 1, c);
end

-- A whole request, and its MAC in lower-case hex. `iq` has id, host, jid (to) and type.
function wire.request(key, iq, kind, values, children)
	covered[1], covered[2], covered[3] = "7:request", length_of[#iq.id], iq.id;
	covered[4], covered[5], covered[6], covered[7] = length_of[#iq.host], iq.host, length_of[#iq.jid], iq.jid;
	covered[8], covered[9] = field(iq.type), kind.field;
	covered[10] = "0:"; -- no text of its own
	written[1], written[2], written[3], written[4] = "<iq type='", iq.type, "' id='", iq.id;
	written[5], written[6], written[7], written[8] = "' from='", escape(iq.host), "' to='", escape(iq.jid);
	written[9], written[10], written[11] = "'>", kind.open, " xmlns='" .. wire.xmlns .. "'";
	local w, c = put_attributes(kind, values, 11, 10);
	local mac_at = w + 1;
	w, c = put_children(children, mac_at, c);
	local mac = hmac_sha256(key, concat(covered, "", 1, c), true);
	written[mac_at] = " mac='" .. mac .. "'>";
	written[w + 1], written[w + 2] = kind.close, "</iq>";
	return concat(written, "", 1, w + 2), mac;
end

return wire;
