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

-- The field with this number
local count_field = {};
for count = 0, 64 do count_field[count] = field(tostring(count)); end

-- A kind of element with these attributes, which must be in the order of their names.
--
-- An element is a table with its `kind`, with attributes by their names, `text`, and `children`: a list of such tables.
function wire.kind(name, attributes)
	local kind = { names = attributes, written = {}, covered = {}, open = "<" .. name, close = "</" .. name .. ">",
		field = field(name) };
	for i, attribute in ipairs(attributes) do
		kind.written[i], kind.covered[i] = " " .. attribute .. "='", field(attribute);
	end
	return kind;
end

-- Filled anew by each request: pieces of XML, and of what the MAC covers.
local written, covered = {}, {};

local function put_attributes(element, w, c)
	local kind, present = element.kind, 0;
	c = c + 1;
	local count_at = c;
	for i, name in ipairs(kind.names) do
		local value = element[name];
		if value then
			present = present + 1;
			written[w + 1], written[w + 2], written[w + 3] = kind.written[i], escape(value), "'";
			covered[c + 1], covered[c + 2], covered[c + 3] = kind.covered[i], length_of[#value], value;
			w, c = w + 3, c + 3;
		end
	end
	covered[count_at] = count_field[present];
	return w, c;
end

-- Behind the `w` pieces of XML and the `c` that are covered; returns how many there are now.
local function put_element(element, w, c)
	local kind, text, children = element.kind, element.text or "", element.children;
	local count = children and #children or 0;
	written[w + 1] = kind.open;
	covered[c + 1], covered[c + 2], covered[c + 3] = kind.field, length_of[#text], text;
	w, c = put_attributes(element, w + 1, c + 3);
	written[w + 1], written[w + 2] = ">", escape(text);
	covered[c + 1] = count_field[count];
	w, c = w + 2, c + 1;
	for i = 1, count do
		w, c = put_element(children[i], w, c);
	end
	written[w + 1] = kind.close;
	return w + 1, c;
end

local PAYLOAD_AT = 10; -- what comes before it is in wire.request

-- A whole request, and its MAC in lower-case hex. `iq` has id, host, jid (to) and type.
function wire.request(key, iq, payload)
	covered[1], covered[2], covered[3] = "7:request", length_of[#iq.id], iq.id;
	covered[4], covered[5], covered[6], covered[7] = length_of[#iq.host], iq.host, length_of[#iq.jid], iq.jid;
	covered[8] = field(iq.type);
	written[1], written[2], written[3], written[4] = "<iq type='", iq.type, "' id='", iq.id;
	written[5], written[6], written[7], written[8] = "' from='", escape(iq.host), "' to='", escape(iq.jid);
	written[9] = "'>";
	local w, c = put_element(payload, PAYLOAD_AT - 1, 8);
	local mac = hmac_sha256(key, concat(covered, "", 1, c), true);
	written[PAYLOAD_AT] = payload.kind.open .. " xmlns='" .. wire.xmlns .. "' mac='" .. mac .. "'";
	written[w + 1] = "</iq>";
	return concat(written, "", 1, w + 1), mac;
end

return wire;
