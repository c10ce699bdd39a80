%%% Outgoing streams: where we are the Initiating Server (XEP-0220 section 2.1.1).
%%% mod_s2s_dialback stays in charge of everything but the key, and of the streams it opens
%%% itself for verification, which carry `db_verify' and not `db_enabled'.
%%%
%%% A stream that may use dialback has `dialback_sidecar' in its state, a map: empty, then
%%% with `phase': asking (for a key), sent (it is with the peer) or done. One without it
%%% started before this module did: native to its end.
-module(mod_dialback_sidecar_out).

-export([init/2, auth_result/2, downgraded/2, packet/2, info/2, leave/4]).

-include("logger.hrl").
-include("xmpp.hrl").
-include("mod_dialback_sidecar.hrl").

-define(LINK, mod_dialback_sidecar_link).
-define(ELEMENTS, mod_dialback_sidecar_elements).

%%% Hooks

init({ok, #{db_enabled := true} = State}, _Opts) ->
    {ok, State#{dialback_sidecar => #{}}};
init(Acc, _Opts) ->
    Acc.

%% SASL EXTERNAL was refused or not offered: section 2.1.1 step 1.
auth_result(#{db_enabled := true} = State, {false, _Reason}) ->
    State1 = maps:remove(stop_reason, State#{on_route => queue}),
    {stop, ?GUARD(ask_for_key(State1), end_for_now(error, State1))};
auth_result(#{dialback_sidecar := _, stream_authenticated := true} = State, true) ->
    report(external, valid, State),
    State;
auth_result(State, _Result) ->
    State.

%% A peer from before RFC 3920: nothing but dialback.
downgraded(#{db_enabled := true} = State, _StreamStart) ->
    {stop, ?GUARD(ask_for_key(State), end_for_now(error, State))};
downgraded(State, _StreamStart) ->
    State.

%% Section 2.1.1 step 4: the result for the key that was sent on this very stream.
packet(#{dialback_sidecar := #{phase := sent, stream := Stream} = Mark,
         stream_remote_id := Stream, server := Sender, remote_server := Target} = State,
       #db_result{from = Target, to = Sender, type = Type} = Result) when Type /= undefined ->
    State1 = State#{dialback_sidecar => Mark#{phase => done}},
    ?GUARD(decided(Type, Result, State1), {stop, end_for_now(error, State1)});
packet(#{dialback_sidecar := _} = State, #db_result{type = undefined, from = From, to = To}) ->
    %% Not on a stream of ours, which is not bidirectional.
    Error = ?ELEMENTS:error_element(case mod_dialback_sidecar:is_ours(To) of
                                true -> <<"not-acceptable">>;
                                false -> <<"item-not-found">>
                            end),
    El = ?ELEMENTS:answer(result, From, To, undefined, error, [Error]),
    {stop, ejabberd_s2s_out:send(State, El)};
packet(#{dialback_sidecar := _} = State, Pkt) when is_record(Pkt, db_result);
                                                   is_record(Pkt, db_verify) ->
    unsolicited(State, Pkt);
packet(#{db_verify := _} = State, Pkt) when is_record(Pkt, db_result) ->
    %% The native module would take a result on a stream that was only to verify.
    unsolicited(State, Pkt);
packet(State, _Pkt) ->
    State.

info(#{dialback_sidecar := #{phase := asking, ref := Ref}} = State,
     {dialback_sidecar, Ref, Answer}) ->
    {stop, ?GUARD(answered(Answer, State), end_for_now(error, State))};
info(State, {dialback_sidecar, _Ref, _Answer}) ->
    {stop, State};
info(State, _Info) ->
    State.

%% The module goes, to be updated or for good. A stream without a key starts over, and asks
%% whoever is there then; with a key that soon nobody vouches for as well.
leave(State, Why, Link, Tag) ->
    Link ! {Tag, self()},
    case State of
        #{stream_state := disconnected} -> State;
        #{dialback_sidecar := #{phase := asking}} -> start_over(State);
        #{dialback_sidecar := #{phase := sent}} when Why == removal -> start_over(State);
        _ -> State
    end.

%%% Section 2.1.1 step 1

ask_for_key(#{server := Sender, stream_remote_id := Stream} = State) ->
    Mark = #{phase => asking, stream => Stream, since => now_ms()},
    State1 = State#{dialback_sidecar => Mark},
    case {mod_dialback_sidecar_component:is_component(Sender), mod_dialback_sidecar_text:visible(Stream)} of
        {true, _} ->
            no_key(<<"the sidecar's own domain does not federate">>, State1);
        {false, false} ->
            no_key(<<"unusable stream ID">>, State1);
        {false, true} ->
            ask(State1, Mark)
    end.

ask(#{server_host := Host, server := Sender, remote_server := Target} = State,
    #{stream := Stream} = Mark) ->
    Job = maps:merge(external(State, mod_dialback_sidecar_peer:facts(State)),
                     #{job => issue, sender => Sender, target => Target, stream => Stream}),
    case ?LINK:ask(Host, Job, mod_dialback_sidecar:option(Host, timeout)) of
        {ok, Ref} -> State#{dialback_sidecar => Mark#{ref => Ref}};
        unavailable -> no_key(<<"the module is not running">>, State)
    end.

%% Why SASL EXTERNAL did not do, for the record.
external(#{stream_encrypted := true} = State, Facts) ->
    case State of
        #{sasl_mech := <<"EXTERNAL">>} -> Facts#{external => <<"refused">>};
        _ -> Facts#{external => <<"not-offered">>}
    end;
external(_State, Facts) ->
    Facts.

answered(_Answer, #{stream_state := disconnected} = State) ->
    State;
answered({key, Key}, #{dialback_sidecar := #{stream := Stream} = Mark,
                       stream_remote_id := Stream,
                       server := Sender, remote_server := Target} = State) ->
    State1 = State#{dialback_sidecar => Mark#{phase => sent}},
    ejabberd_s2s_out:send(State1, #db_result{from = Sender, to = Target, key = Key});
answered({key, _Key}, State) ->
    no_key(<<"the stream was restarted">>, State);
answered({verdict, error, Condition, Reason}, State) ->
    no_key(if Reason == <<>> -> Condition; true -> Reason end, State);
answered({outage, Why}, #{server_host := Host} = State) ->
    case mod_dialback_sidecar:option(Host, fallback) of
        native ->
            ?INFO_MSG("~ts: the server's own dialback goes on with ~ts -> ~ts",
                      [Why, maps:get(server, State), maps:get(remote_server, State)]),
            ?LINK:fell_back(Host),
            native(State);
        none ->
            no_key(Why, State)
    end.

no_key(Why, State) ->
    log('no key', Why, State),
    end_for_now(error, State).

%% The native way out would refuse all stanzas for up to `s2s_max_retry_delay'. This stream ends,
%% what it holds is returned as section 2.1.1 says, and the next stanza opens another.
end_for_now(Type, State) ->
    be_found_no_more(State),
    ejabberd_s2s_out:stop_async(self()),
    State#{stop_reason => stop_reason(Type), dialback_sidecar => #{phase => done}}.

%% What ejabberd makes `internal-server-error' of, and `remote-server-timeout'.
stop_reason(invalid) -> internal_failure;
stop_reason(error) -> {auth, <<"could not authenticate to the remote server">>}.

%% A stanza that is routed to a stream while it ends is lost without a word.
be_found_no_more(#{server := Server, remote_server := Remote}) ->
    try mnesia:dirty_delete_object({s2s, {Server, Remote}, self()})
    catch exit:{aborted, _} -> ok % another layout of ejabberd's own table: then as it was
    end.

native(State) ->
    {stop, State1} = mod_s2s_dialback:s2s_out_auth_result(
                       maps:remove(dialback_sidecar, State), {false, native}),
    State1.

%%% Section 2.1.1 step 4

decided(valid, _Result, State) ->
    log(valid, <<>>, State),
    report(dialback, valid, State),
    State;
%% What a peer refuses may be an outage of anybody's, ours included, that it had no better word
%% for. So here too the next stanza tries again.
decided(Type, Result, State) ->
    log(Type, describe(Result), State),
    report(dialback, Type, State),
    {stop, end_for_now(Type, State)}.

describe(Result) ->
    try xmpp:get_error(Result) of
        #stanza_error{reason = Reason} when is_atom(Reason) -> atom_to_binary(Reason, latin1);
        _ -> <<>>
    catch _:_ -> <<>>
    end.

unsolicited(State, Pkt) ->
    {stop, mod_dialback_sidecar:warn_once(
             State, "an unsolicited ~ts (~ts -> ~ts) on an outgoing stream was dropped",
             [element(1, Pkt), element(2, Pkt), element(3, Pkt)])}.

%%% Small things

report(Mechanism, Type, #{server_host := Host, server := Sender, remote_server := Target,
                          stream_remote_id := Stream}) ->
    ?LINK:report(Host, #{role => initiating, mechanism => Mechanism, sender => Sender,
                         target => Target, stream => Stream, type => Type});
report(_Mechanism, _Type, _State) ->
    ok.

log(Outcome, Reason, #{server := Sender, remote_server := Target} = State) ->
    Mark = maps:get(dialback_sidecar, State, #{}),
    mod_dialback_sidecar:log_handshake(
      initiating, #{sender => Sender, target => Target, since => maps:get(since, Mark, now_ms())},
      Outcome, Reason).

%% Connect again, with all that is queued.
start_over(State) ->
    case State of
        #{socket_monitor := Monitor} -> erlang:demonitor(Monitor, [flush]);
        _ -> ok
    end,
    State1 = xmpp_stream_out:close(maps:remove(dialback_sidecar, State)),
    ejabberd_s2s_out:connect(self()),
    xmpp_stream_out:set_timeout(State1#{on_route => queue},
                                ejabberd_option:negotiation_timeout()).

now_ms() ->
    erlang:monotonic_time(millisecond).
