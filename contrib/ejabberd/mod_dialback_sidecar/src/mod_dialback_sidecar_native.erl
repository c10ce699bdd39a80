%%% What we need of mod_s2s_dialback beside its callbacks.
-module(mod_dialback_sidecar_native).

-export([is_key/1]).

%% Whether a key is one of those that it issues: XEP-0185 over the server's shared secret.
-spec is_key(#{sender := binary(), target := binary(), stream := binary(), key := binary(),
               _ => _}) -> boolean().
is_key(#{sender := Sender, target := Target, stream := Stream, key := Key}) ->
    Secret = str:to_hexlist(crypto:hash(sha256, ejabberd_config:get_shared_key())),
    Key == str:to_hexlist(crypto:mac(hmac, sha256, Secret, [Target, " ", Sender, " ", Stream])).
