-- Canonical form and MAC of requests and replies on the component link
-- (docs/link-protocol.md, "The MAC").

local hmac_sha256 = require "util.hashes".hmac_sha256;
local equals = require "util.hashes".equals;

local function field(text)
	return #text .. ":" .. text;
end

-- Everything of an element that counts: name, text, attributes, children.
local function element(e)
	local names, text, children = {}, {}, {};
	for name in pairs(e.attr) do
		if name ~= "mac" and name ~= "xmlns" and not name:find("[:\1]") then
			names[#names + 1] = name;
		end
	end
	table.sort(names);
	for _, child in ipairs(e) do
		if type(child) == "string" then
			text[#text + 1] = child;
		else
			children[#children + 1] = element(child);
		end
	end
	local parts = { field(e.name), field(table.concat(text)), field(tostring(#names)) };
	for _, name in ipairs(names) do
		parts[#parts + 1] = field(name) .. field(e.attr[name]);
	end
	parts[#parts + 1] = field(tostring(#children));
	return table.concat(parts) .. table.concat(children);
end

local function link_key(component_secret)
	return hmac_sha256(component_secret, "urn:dialback-sidecar:1 link key");
end

-- Lower-case hex. `iq` is the request with its payload as first child element.
local function of_request(key, iq)
	local attr = iq.attr;
	return hmac_sha256(key, field("request") .. field(attr.id) .. field(attr.from) .. field(attr.to)
		.. field(attr.type) .. element(iq.tags[1]), true);
end

local function of_reply(key, request_mac, payload)
	return hmac_sha256(key, field("reply") .. field(request_mac) .. element(payload), true);
end

local function is_of_reply(key, request_mac, payload)
	return equals(payload.attr.mac or "", of_reply(key, request_mac, payload));
end

return {
	link_key = link_key;
	of_request = of_request;
	of_reply = of_reply;
	is_of_reply = is_of_reply;
};
