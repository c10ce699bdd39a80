-- Prosody runs on Lua 5.1 to 5.4: only what all of them have may be used.
std = "min"
codes = true
read_globals = { "module", "prosody" }
files["mod_dialback_sidecar/mod_dialback_sidecar.lua"] = {
	globals = { "module.save", "module.restore", "module.unload" },
}
max_line_length = 120
