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
-export([route_registered/1, route_unregistered/1, config_reloaded/0]).
%% For the other modules
-export([option/2, components_of/1, is_ours/1, log_handshake/4, warn_once/3, failed/3]).

-include("logger.hrl").
-include("xmpp.hrl").

-define(LINK, mod_dialback_sidecar_link).
-define(COMPONENT, mod_dialback_sidecar_component).
-define(OUT, mod_dialback_sidecar_out).
-define(IN, mod_dialback_sidecar_in).
-define(OTHERS, [mod_dialback_sidecar_wire, mod_dialback_sidecar_peer,
                 mod_dialback_sidecar_elements, mod_dialback_sidecar_native,
                 mod_dialback_sidecar_secret, mod_dialback_sidecar_leave,
                 mod_dialback_sidecar_component, mod_dialback_sidecar_reports,
                 mod_dialback_sidecar_choice, mod_dialback_sidecar_asks,
                 mod_dialback_sidecar_batches, mod_dialback_sidecar_complaints,
                 mod_dialback_sidecar_exchange, mod_dialback_sidecar_text,
                 ?LINK, ?OUT, ?IN]).
-define(AFTERWARDS_MS, 120000).

%%% gen_mod

start(Host, Opts) ->
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;
        false -> load_others()
    end,
    ?COMPONENT:configured(Host, components_of(Opts)),
    case ?LINK:start(Host, Opts) of
        {ok, _Pid} = Started ->
            hooks(add, answering(Host) ++ global() ++ asking(Host)),
            end_afterwards(Host),
            Started;
        Error ->
            Error
    end.

%% No new questions; every stream that waits is told; a sidecar that nobody will ask any more is
%% hung up on, before its late answers could go where they like; only then nobody listens for
%% answers any more. Whoever asks the native module about a key of the sidecar's would hear that
%% it is invalid, so for a while it is kept from saying that.
stop(Host) ->
    Why = why(Host),
    hooks(add, afterwards(Host)),
    hooks(delete, asking(Host)),
    ?LINK:stop(Host, Why),
    [?COMPONENT:hang_up(Domain) || Why == removal, Domain <- ?COMPONENT:only_of(Host)],
    hooks(delete, answering(Host)),
    end_afterwards_later(Host),
    ?COMPONENT:configured(Host, []),
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;
        false -> hooks(delete, global())
    end.

%% The timers call code that stays; only a term can remember them, for no process of ours does.
%% (Undoing stops a module twice: when the configuration goes, and when the code does.)
end_afterwards_later(Host) ->
    cancel_timers(Host),
    Timers = [begin
                  {ok, Timer} = timer:apply_after(?AFTERWARDS_MS, ejabberd_hooks, delete,
                                                  tuple_to_list(Hook)),
                  Timer
              end || Hook <- afterwards(Host)],
    persistent_term:put({?MODULE, afterwards, Host}, Timers).

%% Left running, the timers would cut short what follows the next stop.
end_afterwards(Host) ->
    cancel_timers(Host),
    hooks(delete, afterwards(Host)).

cancel_timers(Host) ->
    Key = {?MODULE, afterwards, Host},
    lists:foreach(fun timer:cancel/1, persistent_term:get(Key, [])),
    persistent_term:erase(Key).

%% Whether the module is to come back: it is still configured when it is updated.
why(Host) ->
    case lists:member(Host, ejabberd_option:hosts())
        andalso lists:keymember(?MODULE, 1, ejabberd_option:modules(Host)) of
        true -> update;
        false -> removal
    end.

reload(Host, NewOpts, _OldOpts) ->
    Left = ?COMPONENT:only_of(Host) -- components_of(NewOpts),
    ?COMPONENT:configured(Host, components_of(NewOpts)),
    ?LINK:reload(Host, NewOpts),
    lists:foreach(fun ?COMPONENT:hang_up/1, Left).

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
     {s2s_allow_host, Host, ?COMPONENT, allow_host, 10}].

answering(Host) ->
    [{s2s_out_handle_info, Host, ?OUT, info, 40},
     {s2s_in_handle_info, Host, ?IN, info, 40}].

afterwards(Host) ->
    [{s2s_in_unauthenticated_packet, Host, ?IN, afterwards, 41},
     {s2s_in_authenticated_packet, Host, ?IN, afterwards, 41}].

global() ->
    [{component_send_packet, global, ?COMPONENT, sent_packet, 10},
     {filter_packet, global, ?COMPONENT, filter_packet, 10},
     {route_registered, global, ?MODULE, route_registered, 50},
     {route_unregistered, global, ?MODULE, route_unregistered, 50},
     {config_reloaded, global, ?MODULE, config_reloaded, 90}].

hooks(What, Hooks) ->
    lists:foreach(fun({Hook, Host, Module, Function, Seq}) ->
                          ejabberd_hooks:What(Hook, Host, Module, Function, Seq)
                  end, Hooks).

route_registered(Domain) ->
    case ?COMPONENT:is_component(Domain) of
        true -> ?INFO_MSG("dialback-sidecar connected as ~ts and decides every dialback of this "
                          "server", [Domain]);
        false -> ok
    end.

route_unregistered(Domain) ->
    case ?COMPONENT:is_component(Domain) of
        true -> ?LINK:route_lost(Domain);
        false -> ok
    end.

%% The secret is the listener's password, and that is no option of ours.
config_reloaded() ->
    [?LINK:refresh(Host) || Host <- ?COMPONENT:hosts()],
    ok.

%%% Options

option(Host, Name) -> gen_mod:get_module_opt(Host, ?MODULE, Name).

components_of(Opts) ->
    case maps:get(component, Opts) of
        List when is_list(List) -> List;
        Component -> [Component]
    end.

%% Whether dialback elements may be about a domain; a sidecar's own is nobody's business.
is_ours(Domain) ->
    ejabberd_router:is_my_route(Domain) andalso not ?COMPONENT:is_component(Domain).

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
