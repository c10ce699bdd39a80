%%% The sidecars' component JIDs, and what may go to them and come from them: nothing but
%%% requests of ours, the answers to those, and what the server says to a sidecar that asks
%%% whether it is there. Nothing goes to other servers, or to theirs in a sidecar's name.
-module(mod_dialback_sidecar_component).

-export([configured/2, only_of/1, hosts/0, is_component/1, hang_up/1]).
%% Hooks
-export([sent_packet/1, filter_packet/1, allow_host/3]).

-include("xmpp.hrl").
-include("mod_dialback_sidecar.hrl").

-define(LINK, mod_dialback_sidecar_link).
-define(CONFIGURED, {?MODULE, configured}).     % {components of each host, set of them all}
-define(HANG_UP_MS, 2000).

%%% Who is a sidecar

%% Have a host ask these sidecars; none of them when it asks no more.
-spec configured(binary(), [binary()]) -> ok.
configured(Host, Components) ->
    {Hosts, _} = configured(),
    Hosts1 = case Components of
                 [] -> maps:remove(Host, Hosts);
                 _ -> Hosts#{Host => Components}
             end,
    All = maps:from_list([{Domain, []} || Domain <- lists:append(maps:values(Hosts1))]),
    persistent_term:put(?CONFIGURED, {Hosts1, All}).

%% The sidecars that no other host asks.
-spec only_of(binary()) -> [binary()].
only_of(Host) ->
    {Hosts, _} = configured(),
    maps:get(Host, Hosts, []) -- lists:append(maps:values(maps:remove(Host, Hosts))).

-spec hosts() -> [binary()].
hosts() ->
    {Hosts, _} = configured(),
    maps:keys(Hosts).

%% Whether a domain is the address of a sidecar of any host.
-spec is_component(binary()) -> boolean().
is_component(Domain) ->
    {_, All} = configured(),
    maps:is_key(Domain, All).

configured() ->
    persistent_term:get(?CONFIGURED, {#{}, #{}}).

%% End the connections of a sidecar to this node. When this returns, all that they sent is
%% routed.
-spec hang_up(binary()) -> ok.
hang_up(Domain) ->
    ?GUARD(end_connections(Domain), ok),
    ?LINK:route_lost(Domain).

end_connections(Domain) ->
    Connections = [{Pid, erlang:monitor(process, Pid)}
                   || {_, Pid, _, _} <- supervisor:which_children(ejabberd_service_sup),
                      is_pid(Pid), is_connected_as(Domain, Pid)],
    [ejabberd_service:send(Pid, xmpp:serr_host_gone(<<"dialback is not asked here any more">>,
                                                    <<"en">>))
     || {Pid, _} <- Connections],
    lists:foreach(fun({Pid, Monitor}) ->
                          receive
                              {'DOWN', Monitor, process, Pid, _} -> ok
                          after ?HANG_UP_MS ->
                                  erlang:demonitor(Monitor, [flush]),
                                  exit(Pid, kill)
                          end
                  end, Connections).

%% The router knows, but does not tell.
is_connected_as(Domain, Pid) ->
    try sys:get_state(Pid, ?HANG_UP_MS) of
        #{remote_server := Domain} -> true;
        _ -> false
    catch exit:_ -> false
    end.

%%% Hooks

%% What really comes from a sidecar, and not from another component that may claim any address:
%% answers to our requests are taken at once, the rest is marked.
sent_packet({Packet, #{remote_server := Domain} = State}) ->
    case is_component(Domain) andalso (xmpp:get_from(Packet))#jid.lserver == Domain of
        true -> sent(Packet, State);
        false -> {Packet, State}
    end;
sent_packet(Acc) ->
    Acc.

sent(#iq{type = Type} = Packet, State) when Type == result; Type == error ->
    case ?LINK:reply(Packet) of
        taken -> {stop, {drop, State}};
        not_ours -> {xmpp:put_meta(Packet, dialback_sidecar, sent), State}
    end;
sent(Packet, State) ->
    case {Packet, ejabberd_router:is_my_route((xmpp:get_to(Packet))#jid.lserver)} of
        {#iq{}, false} ->
            %% Says that the server is there, also in the name of a host that is here no more,
            %% which the listener's access rule would not let answer.
            Error = xmpp:make_error(Packet, xmpp:err_item_not_found()),
            {stop, {drop, ejabberd_service:send(State, Error)}};
        _ ->
            {xmpp:put_meta(Packet, dialback_sidecar, sent), State}
    end.

%% Every stanza of the server passes here, so the way through is short. What the server itself
%% answers to our requests, for a sidecar that it does not let them reach, is taken out.
filter_packet(#iq{type = Type, meta = #{dialback_sidecar := _}} = IQ) when Type == result;
                                                                          Type == error ->
    case ?LINK:reply(IQ) of
        taken -> {stop, drop};
        not_ours -> isolate(IQ)
    end;
filter_packet(drop) ->
    drop;
filter_packet(Packet) ->
    isolate(Packet).

isolate(Packet) ->
    case {is_component((xmpp:get_to(Packet))#jid.lserver),
          is_component((xmpp:get_from(Packet))#jid.lserver)} of
        {false, false} -> Packet;
        {true, _} -> towards(xmpp:get_meta(Packet, dialback_sidecar, none), Packet);
        {false, true} -> away(Packet)
    end.

%% A stanza for a sidecar. Marks stay on what the server makes of a stanza by itself, and nobody
%% else can put them there.
towards(request, Packet) ->
    Packet;
towards(sent, #iq{type = Type} = Answer) when Type == result; Type == error ->
    Answer;
towards(_, Packet) ->
    refuse(Packet).

%% A stanza in the name of a sidecar stays here.
away(Packet) ->
    case ejabberd_router:is_my_route((xmpp:get_to(Packet))#jid.lserver) of
        true -> Packet;
        false -> refuse(Packet)
    end.

%% Nobody elsewhere is answered.
refuse(Packet) ->
    case ejabberd_router:is_my_route((xmpp:get_from(Packet))#jid.lserver) of
        true ->
            ejabberd_router:route_error(xmpp:set_els(Packet, []), xmpp:err_service_unavailable());
        false ->
            ok
    end,
    {stop, drop}.

%% Without this, a stanza to a sidecar that is not connected would look for it on the network.
allow_host(Acc, _Host, Domain) ->
    case is_component(Domain) of
        true -> {stop, deny};
        false -> Acc
    end.
