%%% Incoming streams: where we are the Receiving Server (XEP-0220 section 2.2.1) and the
%%% Authoritative Server (section 2.2.2). What is being asked about is in the stream's state
%%% under `dialback_sidecar', a map from the reference of the question to what it is about,
%%% without any key. `dialback_received' there is the last element's `from' and `to', before
%%% the codec prepared them: they are echoed as they came.
-module(mod_dialback_sidecar_in).

-export([packet/2, recv/3, auth_result/3, info/2, leave/5, afterwards/2]).

-include("logger.hrl").
-include("xmpp.hrl").
-include("mod_dialback_sidecar.hrl").

-define(LINK, mod_dialback_sidecar_link).
-define(TEXT, mod_dialback_sidecar_text).
-define(ELEMENTS, mod_dialback_sidecar_elements).
-define(MARGIN_MS, 300).            % to answer before the negotiation times out

%%% Hooks

packet(State, #db_result{type = undefined} = Pkt) ->
    ?GUARD(check(State, Pkt), {stop, broken(Pkt, State)});
packet(State, #db_verify{type = undefined} = Pkt) ->
    ?GUARD(verify(State, Pkt), {stop, broken(Pkt, State)});
packet(State, Pkt) when is_record(Pkt, db_result); is_record(Pkt, db_verify) ->
    %% Nothing was ever asked on this stream, so nothing can be answered on it (section 3.1).
    {stop, mod_dialback_sidecar:warn_once(
             State, "an unsolicited ~ts (~ts -> ~ts) on an incoming stream was dropped",
             [element(1, Pkt), element(2, Pkt), element(3, Pkt)])};
packet(State, _Pkt) ->
    State.

%% Elements that the codec cannot read: answered here, because the native answer gives the
%% key back.
recv(State, #xmlel{name = <<"db:", Rest/binary>>} = El, {error, _Why})
  when Rest == <<"result">>; Rest == <<"verify">> ->
    case fxml:get_tag_attr_s(<<"type">>, El) of
        Type when Type == <<"valid">>; Type == <<"invalid">>; Type == <<"error">> ->
            {stop, State};
        _ ->
            {stop, ejabberd_s2s_in:send(State, ?ELEMENTS:malformed(El))}
    end;
recv(State, #xmlel{name = <<"db:", _/binary>>} = El, Pkt) when is_record(Pkt, db_result);
                                                                is_record(Pkt, db_verify) ->
    Attr = fun(Name) -> fxml:get_tag_attr_s(Name, El) end,
    State#{dialback_received => {Attr(<<"from">>), Attr(<<"to">>)}};
recv(State, _El, _Pkt) ->
    State.

%% What SASL EXTERNAL decided, for the record.
auth_result(#{sasl_mech := <<"EXTERNAL">>, server_host := Host, lserver := Target,
              stream_id := Stream} = State, true, Sender) ->
    ?LINK:report(Host, #{role => receiving, mechanism => external, sender => Sender,
                         target => Target, stream => Stream, type => valid}),
    State;
auth_result(#{sasl_mech := <<"EXTERNAL">>} = State, false, _Sender) ->
    State#{dialback_external => <<"refused">>};
auth_result(State, _Result, _Sender) ->
    State.

info(State, {dialback_sidecar, Ref, Answer}) ->
    Asked = asked(State),
    case maps:take(Ref, Asked) of
        {Question, Asked1} ->
            State1 = State#{dialback_sidecar => Asked1},
            {stop, ?GUARD(answered(Question, Answer, State1), broken(Question, State1))};
        error ->
            {stop, State}
    end;
info(State, _Info) ->
    State.

%% The module goes. When it is removed, the native one checks what was to be checked. It
%% cannot judge keys of the sidecar's: whoever asked about one gets an error.
leave(State, Why, Jobs, Link, Tag) ->
    Asked = asked(State),
    State1 = lists:foldl(
               fun({Ref, Job}, Acc) ->
                       case Asked of
                           #{Ref := Question} -> leave(Why, Question, Job, Acc);
                           _ -> Acc
                       end
               end, maps:remove(dialback_sidecar, State), Jobs),
    Link ! {Tag, self()},
    State1.

leave(_Why, _Question, _Job, #{stream_state := disconnected} = State) ->
    State;
leave(removal, #{job := check} = Question, #{key := Key}, State) ->
    native_check(Question, Key, State);
leave(_Why, Question, _Job, State) ->
    reply_error(<<"internal-server-error">>, Question, State).

%% For some time after us: the native module may say that a key is valid, but not that it is
%% not, because it may be a key of the sidecar's. Calls nothing of the module's that is gone.
afterwards(State, #db_verify{type = undefined, from = Target, to = Sender, id = Stream,
                             key = Key}) ->
    case ?TEXT:trimmed_key(Key) of
        {ok, Trimmed} ->
            case mod_dialback_sidecar_native:is_key(#{sender => Sender, target => Target,
                                                      stream => Stream, key => Trimmed}) of
                true -> State;
                false -> {stop, not_for_native(Target, Sender, Stream, State)}
            end;
        error ->
            {stop, not_for_native(Target, Sender, Stream, State)}
    end;
afterwards(State, _Pkt) ->
    State.

not_for_native(From, To, Id, State) ->
    Error = ?ELEMENTS:error_element(<<"internal-server-error">>),
    ejabberd_s2s_in:send(State, ?ELEMENTS:answer(verify, From, To, Id, error, [Error])).

%%% Section 2.2.1: does the peer speak for its sender domain?

check(State, #db_result{from = Sender, to = Target} = Pkt) ->
    Question = question(check, Sender, Target, maps:get(stream_id, State), State),
    case {readable(Pkt), local(Target)} of
        {_, native} ->
            State;
        {{ok, Key}, {host, Host}} ->
            check(State, Host, Question, Key);
        {{ok, _}, unknown} ->
            refuse(<<"item-not-found">>, "no such domain here", Question, State);
        {error, _} ->
            refuse(<<"bad-request">>, "malformed", Question, State)
    end.

check(State, Host, #{sender := Sender} = Question, Key) ->
    case ejabberd_router:is_my_route(Sender) of
        true ->
            State1 = mod_dialback_sidecar:warn_once(
                       State, "a peer (~ts) claims to be ~ts, which is hosted here; refused",
                       [maps:get(ip, mod_dialback_sidecar_peer:facts(State), <<"?">>), Sender]),
            refuse(<<"not-acceptable">>, "a domain hosted here", Question, State1);
        false ->
            %% A check opens connections to wherever the peer says, so there is a limit.
            TooMany = is_full(check, mod_dialback_sidecar:option(Host, check_limit), State),
            case {ejabberd_s2s:allow_host(Host, Sender), already(Question, State)} of
                {false, _} ->
                    refuse(<<"forbidden">>, "s2s_access", Question, State);
                {true, true} ->
                    %% Answered with the first one.
                    {stop, State};
                {true, false} when TooMany ->
                    refuse(<<"resource-constraint">>, "too many pending on this stream",
                           Question, State);
                {true, false} ->
                    Facts = maps:merge(mod_dialback_sidecar_peer:facts(State),
                                       mod_dialback_sidecar_peer:chain(State)),
                    ask(Host, Question, external(State, Facts#{key => Key}),
                        mod_dialback_sidecar:option(Host, check_timeout), State)
            end
    end.

external(#{dialback_external := Said}, Facts) -> Facts#{external => Said};
external(_State, Facts) -> Facts.

already(#{sender := Sender, target := Target}, State) ->
    lists:any(fun(#{job := J, sender := S, target := T}) ->
                      J == check andalso S == Sender andalso T == Target
              end, maps:values(asked(State))).

is_full(Job, Limit, State) ->
    Asked = asked(State),
    map_size(Asked) >= Limit
        andalso length([1 || #{job := J} <- maps:values(Asked), J == Job]) >= Limit.

%%% Section 2.2.2 step 2: is a key ours?

verify(State, #db_verify{from = Target, to = Sender, id = Stream} = Pkt) ->
    Question = question(verify, Sender, Target, Stream, State),
    case {readable(Pkt), local(Sender)} of
        {_, native} ->
            State;
        {{ok, Key}, {host, Host}} ->
            case is_full(verify, mod_dialback_sidecar:option(Host, verify_limit), State) of
                true ->
                    refuse(<<"resource-constraint">>, "too many pending on this stream",
                           Question, State);
                false ->
                    Facts = mod_dialback_sidecar_peer:address(State),
                    ask(Host, Question, Facts#{key => Key},
                        mod_dialback_sidecar:option(Host, timeout), State)
            end;
        {{ok, _}, unknown} ->
            refuse(<<"item-not-found">>, "no such domain here", Question, State);
        {error, _} ->
            refuse(<<"bad-request">>, "malformed", Question, State)
    end.

%% The key of a request that is well-formed in all its parts.
readable(#db_result{from = From, to = To, key = Key, sub_els = []}) ->
    readable(From, To, Key);
readable(#db_verify{from = From, to = To, id = Id, key = Key, sub_els = []}) ->
    case ?TEXT:visible(Id) of
        true -> readable(From, To, Key);
        false -> error
    end;
readable(_) ->
    error.

readable(From, To, Key) ->
    case ?TEXT:domain(From) andalso ?TEXT:domain(To) of
        true -> ?TEXT:trimmed_key(Key);
        false -> error
    end.

%%% Asking and answering

ask(Host, Question, Facts, Milliseconds, State) ->
    Job = maps:merge(Facts, maps:with([job, sender, target, stream], Question)),
    case ?LINK:ask(Host, Job, min(Milliseconds, time_left(State))) of
        {ok, Ref} ->
            Asked = asked(State),
            {stop, State#{dialback_sidecar => Asked#{Ref => Question#{host => Host}}}};
        unavailable ->
            refuse(<<"internal-server-error">>, "the module is not running", Question, State)
    end.

answered(_Question, _Answer, #{stream_state := disconnected} = State) ->
    State;
answered(#{job := check, stream := Stream}, _Answer, #{stream_id := Other} = State)
  when Stream /= Other ->
    %% The stream was restarted; whoever restarted it has to ask again.
    State;
answered(#{host := Host} = Question, {native, Why, Key}, State) ->
    ?INFO_MSG("~ts: the server's own dialback goes on with ~ts -> ~ts",
              [Why, maps:get(sender, Question), maps:get(target, Question)]),
    ?LINK:fell_back(Host),
    native_check(Question, Key(), State);
answered(Question, {outage, Why}, State) ->
    log(Question, error, Why),
    report(error, Question),
    reply_error(<<"internal-server-error">>, Question, State);
answered(Question, {verdict, error, Condition, Reason}, State) ->
    log(Question, error, first([Reason, Condition])),
    report(error, Question),
    reply_error(Condition, Question, State);
answered(#{job := verify} = Question, {verdict, Type, Detail}, State) ->
    log(Question, Type, Detail),
    reply(Type, [], Question, State);
answered(#{job := check} = Question, {verdict, valid, Evidence}, State) ->
    log(Question, valid, Evidence),
    report(valid, Question),
    accept(Question, State);
answered(#{job := check} = Question, {verdict, invalid, Reason}, State) ->
    log(Question, invalid, Reason),
    report(invalid, Question),
    reject(Question, State).

%% Section 2.2.1 step 4.
accept(#{sender := Sender} = Question, State) ->
    State1 = reply(valid, [], Question, State),
    State2 = ejabberd_s2s_in:handle_auth_success(Sender, <<"dialback">>, undefined, State1),
    ejabberd_s2s_in:establish(State2).

%% An invalid key ends the stream, unless other pairs are verified on it: then it is a
%% dialback error, which by section 2.2.1 may be sent instead.
reject(#{sender := Sender} = Question, #{auth_domains := Verified, lang := Lang} = State) ->
    Failed = fun(S) ->
                     ejabberd_s2s_in:handle_auth_failure(
                       Sender, <<"dialback">>, <<"invalid dialback key">>, S)
             end,
    case sets:size(Verified) of
        0 ->
            Error = xmpp:serr_not_authorized(<<"the dialback key is invalid">>, Lang),
            ejabberd_s2s_in:send(Failed(reply(invalid, [], Question, State)), Error);
        _ ->
            Failed(reply_error(<<"forbidden">>, Question, State))
    end.

%% The first refusal of a stream is for the operator; how many more there are is up to the peer.
refuse(Condition, Why, Question, #{dialback_refused := true} = State) ->
    ?DEBUG("refused another request of ~p: ~ts", [maps:get(sender, Question), Why]),
    {stop, reply_error(Condition, Question, State)};
refuse(Condition, Why, Question, State) ->
    case lists:member(Condition, [<<"bad-request">>, <<"item-not-found">>]) of
        true ->
            ?DEBUG("refused a request of ~p: ~ts", [maps:get(sender, Question), Why]),
            {stop, reply_error(Condition, Question, State)};
        false ->
            log(Question, error, Why),
            {stop, reply_error(Condition, Question, State#{dialback_refused => true})}
    end.

reply_error(Condition, Question, State) ->
    reply(error, [?ELEMENTS:error_element(Condition)], Question, State).

reply(Type, Els, #{job := Job, received := {From, To}} = Question, State) ->
    El = case Job of
             check -> ?ELEMENTS:answer(result, From, To, undefined, Type, Els);
             verify -> ?ELEMENTS:answer(verify, From, To, maps:get(stream, Question), Type, Els)
         end,
    ejabberd_s2s_in:send(State, El).

native_check(#{sender := Sender, target := Target}, Key, State) ->
    {stop, State1} = mod_s2s_dialback:s2s_in_packet(
                       State, #db_result{from = Sender, to = Target, key = Key}),
    State1.

%%% Small things

%% The host that a domain belongs to, when its dialback is for us to decide.
local(Domain) ->
    case mod_dialback_sidecar:is_ours(Domain) of
        true ->
            Host = ejabberd_router:host_of_route(Domain),
            case gen_mod:is_loaded(Host, mod_dialback_sidecar)
                andalso gen_mod:is_loaded(Host, mod_s2s_dialback) of
                true -> {host, Host};
                false -> native
            end;
        false ->
            unknown
    end.

asked(State) ->
    maps:get(dialback_sidecar, State, #{}).

%% Before its first pair is verified a stream has `negotiation_timeout' from accept to live.
time_left(#{established := false, stream_timeout := {Milliseconds, Start}}) ->
    max(?MARGIN_MS, Start + Milliseconds - now_ms() - ?MARGIN_MS);
time_left(_State) ->
    infinity.

report(Type, #{job := check, host := Host} = Question) ->
    ?LINK:report(Host, (maps:with([sender, target, stream], Question))
                 #{role => receiving, mechanism => dialback, type => Type});
report(_Type, _Question) ->
    ok.

question(Job, Sender, Target, Stream, State) ->
    #{job => Job, sender => Sender, target => Target, stream => Stream, since => now_ms(),
      received => maps:get(dialback_received, State)}.

log(#{job := Job} = Question, Outcome, Reason) ->
    Role = case Job of
               check -> receiving;
               verify -> authoritative
           end,
    mod_dialback_sidecar:log_handshake(Role, Question, Outcome, Reason).

first([<<>>, Second]) -> Second;
first([First, _]) -> First.

%% The answer when something in here failed.
broken(Pkt, #{dialback_received := Received} = State) when is_record(Pkt, db_result) ->
    broken(#{job => check, received => Received}, State);
broken(#db_verify{id = Id}, #{dialback_received := Received} = State) ->
    broken(#{job => verify, stream => Id, received => Received}, State);
broken(Question, State) ->
    reply_error(<<"internal-server-error">>, Question, State).

now_ms() ->
    erlang:monotonic_time(millisecond).
