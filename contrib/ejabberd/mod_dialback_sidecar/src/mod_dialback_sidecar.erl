%%% Server Dialback (XEP-0220) decided by a dialback-sidecar.
%%%
%%% mod_s2s_dialback stays loaded and keeps the stream features and all that surrounds
%%% dialback; this module takes the four decisions, with hooks that run before its own:
%%% which key to send, whether a key is ours, whether a peer's key is true, and what came of
%%% it. Without this module, mod_s2s_dialback decides again, at once.
-module(mod_dialback_sidecar).
-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_opt_type/1, mod_options/1, mod_doc/0]).
%% Hooks
-export([component_send_packet/1, filter_packet/1, allow_host/3, route_registered/1, route_unregistered/1, config_reloaded/0]).
%% For the other modules
-export([option/2, components_of/1, is_component/1, is_ours/1, log_handshake/4, warn_once/3, failed/3]).

-include("logger.hrl").
-include("xmpp.hrl").

-define(LINK, mod_dialback_sidecar_link).
-define(OUT, mod_dialback_sidecar_out).
-define(IN, mod_dialback_sidecar_in).
-define(OTHERS, [mod_dialback_sidecar_wire, mod_dialback_sidecar_peer,
                 mod_dialback_sidecar_elements, mod_dialback_sidecar_native,
                 mod_dialback_sidecar_secret, mod_dialback_sidecar_leave,
                 ?LINK, ?OUT, ?IN]).
-define(COMPONENTS, {?MODULE, components}).
-define(AFTERWARDS_MS, 120000).

%%% gen_mod

start(Host, Opts) ->
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;
        false -> load_others()
    end,
    components(fun(Components) -> Components#{Host => components_of(Opts)} end),
    case ?LINK:start(Host, Opts) of
        {ok, _Pid} = Started ->
            hooks(add, answering(Host) ++ global() ++ asking(Host)),
            hooks(delete, afterwards(Host)),
            Started;
        Error ->
            Error
    end.

%% No new questions; every stream that waits is told; only then nobody listens for answers
%% any more. Whoever asks the native module about a key of the sidecar's would hear that it is
%% invalid, so for a while it is kept from saying that.
stop(Host) ->
    hooks(add, afterwards(Host)),
    hooks(delete, asking(Host)),
    ?LINK:stop(Host, why(Host)),
    hooks(delete, answering(Host)),
    [{ok, _} = timer:apply_after(?AFTERWARDS_MS, ejabberd_hooks, delete, tuple_to_list(Hook))
     || Hook <- afterwards(Host)],
    components(fun(Components) -> maps:remove(Host, Components) end),
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;
        false -> hooks(delete, global())
    end.

%% Whether the module is to come back: it is still configured when it is updated.
why(Host) ->
    case lists:keymember(?MODULE, 1, ejabberd_option:modules(Host)) of
        true -> update;
        false -> removal
    end.

reload(Host, NewOpts, _OldOpts) ->
    components(fun(Components) -> Components#{Host => components_of(NewOpts)} end),
    ?LINK:reload(Host, NewOpts).

depends(_Host, _Opts) ->
    %% Where there is none, dialback is switched off, and stays so.
    [{mod_s2s_dialback, soft}].

mod_opt_type(component) -> econf:list_or_single(econf:domain(), [unique]);
mod_opt_type(secret) -> econf:binary();
mod_opt_type(timeout) -> econf:timeout(second);
mod_opt_type(check_timeout) -> econf:timeout(second);
mod_opt_type(check_limit) -> econf:pos_int();
mod_opt_type(verify_limit) -> econf:pos_int();
mod_opt_type(fallback) -> econf:enum([none, native]).

mod_options(_Host) ->
    [component,
     {secret, undefined},
     {timeout, timer:seconds(5)},
     {check_timeout, timer:seconds(15)},
     {check_limit, 16},
     {verify_limit, 256},
     {fallback, none}].

mod_doc() ->
    #{desc => <<"Has a dialback-sidecar decide Server Dialback (XEP-0220); see its README.">>}.

%%% Hooks

%% Streams of one host. `mod_s2s_dialback' is at 50 everywhere.
asking(Host) ->
    [{s2s_out_init, Host, ?OUT, init, 60},
     {s2s_out_auth_result, Host, ?OUT, auth_result, 40},
     {s2s_out_downgraded, Host, ?OUT, downgraded, 40},
     {s2s_out_packet, Host, ?OUT, packet, 40},
     {s2s_in_unauthenticated_packet, Host, ?IN, packet, 40},
     {s2s_in_authenticated_packet, Host, ?IN, packet, 40},
     {s2s_in_handle_recv, Host, ?IN, recv, 40},
     {s2s_in_auth_result, Host, ?IN, auth_result, 40},
     {s2s_allow_host, Host, ?MODULE, allow_host, 10}].

answering(Host) ->
    [{s2s_out_handle_info, Host, ?OUT, info, 40},
     {s2s_in_handle_info, Host, ?IN, info, 40}].

afterwards(Host) ->
    [{s2s_in_unauthenticated_packet, Host, ?IN, afterwards, 41},
     {s2s_in_authenticated_packet, Host, ?IN, afterwards, 41}].

global() ->
    [{component_send_packet, global, ?MODULE, component_send_packet, 10},
     {filter_packet, global, ?MODULE, filter_packet, 10},
     {route_registered, global, ?MODULE, route_registered, 50},
     {route_unregistered, global, ?MODULE, route_unregistered, 50},
     {config_reloaded, global, ?MODULE, config_reloaded, 90}].

hooks(What, Hooks) ->
    lists:foreach(fun({Hook, Host, Module, Function, Seq}) ->
                          ejabberd_hooks:What(Hook, Host, Module, Function, Seq)
                  end, Hooks).

%% What really comes from a sidecar, and not from another component that may claim any address.
component_send_packet({#iq{from = #jid{lserver = Domain}} = IQ,
                       #{remote_server := Domain} = State}) ->
    case is_component(Domain) of
        true -> {xmpp:put_meta(IQ, dialback_sidecar, reply), State};
        false -> {IQ, State}
    end;
component_send_packet(Acc) ->
    Acc.

%% Every stanza of the server passes here, so the way through is short. Answers to our
%% requests are taken out, also those that the server itself gives for a sidecar that it does
%% not let them reach; to a sidecar goes nothing but our requests.
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
    case is_component((xmpp:get_to(Packet))#jid.lserver)
        andalso xmpp:get_meta(Packet, dialback_sidecar, none) /= request of
        false ->
            Packet;
        true ->
            refuse(Packet),
            {stop, drop}
    end.

%% Nothing goes to other servers in the name of a sidecar, not even an error.
refuse(Packet) ->
    case ejabberd_router:is_my_route((xmpp:get_from(Packet))#jid.lserver) of
        true ->
            ejabberd_router:route_error(xmpp:set_els(Packet, []), xmpp:err_service_unavailable());
        false ->
            ok
    end.

%% Without this, a stanza to a sidecar that is not connected would look for it on the network.
allow_host(Acc, _Host, Domain) ->
    case is_component(Domain) of
        true -> {stop, deny};
        false -> Acc
    end.

route_registered(Domain) ->
    case is_component(Domain) of
        true -> ?INFO_MSG("dialback-sidecar connected as ~ts and decides every dialback of this "
                          "server", [Domain]);
        false -> ok
    end.

route_unregistered(Domain) ->
    case is_component(Domain) of
        true -> ?LINK:route_lost(Domain);
        false -> ok
    end.

%% The secret is the listener's password, and that is no option of ours.
config_reloaded() ->
    [?LINK:refresh(Host) || Host <- maps:keys(persistent_term:get(?COMPONENTS, #{}))],
    ok.

%%% Options

option(Host, Name) -> gen_mod:get_module_opt(Host, ?MODULE, Name).

components_of(Opts) ->
    case maps:get(component, Opts) of
        List when is_list(List) -> List;
        Component -> [Component]
    end.

%% Whether a domain is the address of a sidecar of any host.
is_component(Domain) ->
    lists:any(fun(Components) -> lists:member(Domain, Components) end,
              maps:values(persistent_term:get(?COMPONENTS, #{}))).

%% Whether dialback elements may be about a domain; a sidecar's own is nobody's business.
is_ours(Domain) ->
    ejabberd_router:is_my_route(Domain) andalso not is_component(Domain).

components(Change) ->
    persistent_term:put(?COMPONENTS, Change(persistent_term:get(?COMPONENTS, #{}))).

%%% Log

%% The one line an operator looks for.
log_handshake(Role, #{sender := Sender, target := Target, since := Since}, Outcome, Reason) ->
    Detail = case iolist_to_binary(Reason) of
                 <<>> -> "";
                 Text -> [" (", Text, ")"]
             end,
    ?INFO_MSG("dialback as ~ts server, ~ts -> ~ts: ~ts~ts, ~B ms",
              [Role, Sender, Target, Outcome, Detail,
               erlang:monotonic_time(millisecond) - Since]).

%% What a peer can cause is logged once per stream.
warn_once(#{dialback_warned := true} = State, _Format, _Args) ->
    State;
warn_once(State, Format, Args) ->
    ?WARNING_MSG(Format, Args),
    State#{dialback_warned => true}.

%% A fault of ours, without the values that led to it.
failed(Class, Reason, Stack) ->
    Where = [{M, F, if is_list(A) -> length(A); true -> A end, proplists:get_value(line, Place)}
             || {M, F, A, Place} <- lists:sublist(Stack, 3)],
    Name = if is_atom(Reason) -> Reason;
              is_tuple(Reason), is_atom(element(1, Reason)) -> element(1, Reason);
              true -> other
           end,
    ?ERROR_MSG("~ts ~ts in ~0p", [Class, Name, Where]).

%%% Code

%% ext_mod unloads only the module it is named after, so after an update the others would
%% still be the old ones.
load_others() ->
    lists:foreach(fun(Module) ->
                          code:purge(Module),
                          {module, Module} = code:load_file(Module)
                  end, ?OTHERS).
