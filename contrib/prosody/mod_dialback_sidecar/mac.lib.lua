-- The link key, and the MAC of replies (docs/link-protocol.md, "The MAC"); requests get theirs where they are
-- written, in wire.lib.lua.

local hmac_sha256 = require "util.hashes".hmac_sha256;
local equals = require "util.hashes".equals;
local concat, sort = table.concat, table.sort;

local pieces, names = {}, {}; -- filled anew for each reply, and for each of its elements

local function put_field(n, text)
	pieces[n + 1], pieces[n + 2], pieces[n + 3] = #text, ":", text;
	return n + 3;
end

-- Everything of an element that counts: name, text, attributes, children. Returns how much there is now.
local function put_element(n, e)
	local attr, tags = e.attr, e.tags;
	local count = 0;
	for name in pairs(attr) do
		if name ~= "mac" and name ~= "xmlns" and not name:find("[:\1]") then
			count = count + 1;
			names[count] = name;
		end
	end
	for i = #names, count + 1, -1 do names[i] = nil; end
	if count > 1 then sort(names); end

	n = put_field(n, e.name);
	if #tags == 0 then
		n = put_field(n, e[2] and concat(e) or e[1] or "");
	else
		local texts = {};
		for _, child in ipairs(e) do
			if type(child) == "string" then texts[#texts + 1] = child; end
		end
		n = put_field(n, concat(texts));
	end
	n = put_field(n, tostring(count));
	for i = 1, count do
		n = put_field(put_field(n, names[i]), attr[names[i]]);
	end
	n = put_field(n, tostring(#tags));
	for _, child in ipairs(tags) do n = put_element(n, child); end
	return n;
end

local function link_key(component_secret)
	return hmac_sha256(component_secret, "urn:dialback-sidecar:1 link key");
end

-- Lower-case hex.
local function of_reply(key, request_mac, payload)
	local n = put_element(put_field(put_field(0, "reply"), request_mac), payload);
	return hmac_sha256(key, concat(pieces, "", 1, n), true);
end

local function is_of_reply(key, request_mac, payload)
	return equals(payload.attr.mac or "", of_reply(key, request_mac, payload));
end

return { link_key = link_key, of_reply = of_reply, is_of_reply = is_of_reply };
