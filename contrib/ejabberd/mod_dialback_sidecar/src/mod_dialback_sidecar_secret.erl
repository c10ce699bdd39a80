%%% The secret that a component and the server share.
-module(mod_dialback_sidecar_secret).

-export([find/2]).

%% From the module's options, or else the password that the component's listener asks for:
%% nobody has to write it down twice.
-spec find(binary(), gen_mod:opts()) -> binary() | undefined.
find(Component, Opts) ->
    case maps:get(secret, Opts, undefined) of
        undefined -> of_listener(Component, ejabberd_option:listen());
        Given -> Given
    end.

of_listener(Component, [{_EndPoint, ejabberd_service, Opts0} | Listeners]) ->
    Opts = if is_map(Opts0) -> Opts0; true -> maps:from_list(Opts0) end,
    Hosts = case maps:get(hosts, Opts, []) of
                Map when is_map(Map) -> maps:to_list(Map);
                List -> List
            end,
    case lists:keyfind(Component, 1, Hosts) of
        {_, Password} when is_binary(Password) -> Password;
        {_, undefined} -> maps:get(password, Opts, undefined);
        _ -> of_listener(Component, Listeners)
    end;
of_listener(Component, [_ | Listeners]) ->
    of_listener(Component, Listeners);
of_listener(_Component, []) ->
    undefined.
