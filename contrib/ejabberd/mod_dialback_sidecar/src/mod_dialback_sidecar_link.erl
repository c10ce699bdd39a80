%%% One process per virtual host: asks the sidecar, over its component link, on behalf of the
%%% s2s streams of that host, and gives each stream exactly one answer. The streams never
%%% block and never see an iq; everything that can be late, lost or forged ends here.
-module(mod_dialback_sidecar_link).
-behaviour(gen_server).

%% For the streams
-export([ask/3, report/2, fell_back/1]).
%% For the module
-export([start/2, stop/2, reload/2, refresh/1, route_lost/1, reply/1, process/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).

-include("logger.hrl").
-include("xmpp.hrl").
-include("mod_dialback_sidecar.hrl").

-define(WIRE, mod_dialback_sidecar_wire).
-define(REPORTS, mod_dialback_sidecar_reports).
-define(GRACE_MS, 120000).          % how long keys of the native module are honoured after it
-define(REPORT_MS, 1000).           % reports are collected that long, or until they are many
-define(SUSPECT_MS, 10000).         % how long a sidecar that was silent is asked last
-define(WARN_MS, 60000).            % an outage is in the log that often
-define(LEAVE_MS, 6000).

-record(ask, {ref :: reference(),
              stream :: pid(),
              monitor :: reference(),
              timer :: reference(),
              job :: map(),
              deadline :: integer(),
              tried = [] :: [binary()],          % components, the last one first
              ids = [] :: [binary()]}).          % of the requests made for it

-record(state, {host :: binary(),
                components = [] :: [binary()],    % in the order in which they are asked
                secrets :: ets:tid(),             % see below: holds keys, and a crash report
                                                  % does not show a table
                asked = #{} :: #{reference() => reference()},   % monitor -> ask
                reports :: ?REPORTS:reports(),
                flush :: reference() | undefined,
                suspects = #{} :: #{binary() => integer()},   % component -> until when
                warned = no :: no | {until, integer()},
                native_until :: integer()}).

%% In the table `secrets': {Ref, #ask{}}, {Id, Ref, Component, Mac} for each request that is
%% out, and {Component, LinkKey}.

%% An ask has one timer, for its end or for asking once more before that: when half the time of
%% a short job is over, another sidecar may still answer. (A check has been given to the network
%% by then, and takes its time.)

%%% For the streams

%% Have a job done within so many milliseconds. The calling process will get
%% `{dialback_sidecar, Ref, Answer}', Answer being what ?WIRE:reply/4 returns in `{ok, _}',
%% or `{outage, Why}', or `{native, Why, Key}' where the native module is to check `Key()'.
%% `unavailable' when there is no one to ask.
-spec ask(binary(), map(), pos_integer()) -> {ok, reference()} | unavailable.
ask(Host, Job, Milliseconds) ->
    case whereis(process(Host)) of
        undefined ->
            unavailable;
        Link ->
            Ref = make_ref(),
            gen_server:cast(Link, {ask, self(), Ref, Job, now_ms() + Milliseconds}),
            {ok, Ref}
    end.

%% Tell the sidecar what became of a domain pair; best effort, in batches.
-spec report(binary(), map()) -> ok.
report(Host, Outcome) ->
    gen_server:cast(process(Host), {report, self(), Outcome}).

%% The native module was asked instead: its keys are out there for a while.
-spec fell_back(binary()) -> ok.
fell_back(Host) ->
    gen_server:cast(process(Host), fell_back).

%%% For the module

start(Host, Opts) ->
    %% A server that was up before us has keys of its own in flight.
    NativeUntil = case server_was_running() of
                      true -> now_ms() + ?GRACE_MS;
                      false -> now_ms()
                  end,
    gen_mod:start_child(?MODULE, Host, Opts#{native_until => NativeUntil}).

%% Tell every stream that still waits to go on without us, then end.
-spec stop(binary(), update | removal) -> any().
stop(Host, Why) ->
    try gen_server:call(process(Host), {leave, Why}, ?LEAVE_MS)
    catch exit:_ -> ok
    end,
    gen_mod:stop_child(?MODULE, Host).

reload(Host, Opts) ->
    gen_server:cast(process(Host), {reload, Opts}).

%% The component's secret may have changed.
refresh(Host) ->
    gen_server:cast(process(Host), refresh).

%% A connection of this component has gone; there may be others.
route_lost(Component) ->
    each_node(fun(Host, Node) ->
                      ejabberd_cluster:send({process(Host), Node}, {route_lost, Component})
              end).

%% Take a stanza out of the router that answers one of our requests.
-spec reply(iq()) -> taken | not_ours.
reply(#iq{id = Id, to = #jid{luser = <<>>, lserver = Host}} = IQ) ->
    case ?WIRE:node_of_id(Id) of
        {ok, NodeId} ->
            case gen_mod:is_loaded(Host, mod_dialback_sidecar) of
                true ->
                    Node = ejabberd_cluster:get_node_by_id(NodeId),
                    ejabberd_cluster:send({process(Host), Node}, {reply, IQ}),
                    taken;
                false ->
                    not_ours
            end;
        error ->
            not_ours
    end;
reply(_) ->
    not_ours.

-spec process(binary()) -> atom().
process(Host) ->
    gen_mod:get_module_proc(Host, ?MODULE).

%%% gen_server

init([Host, #{native_until := NativeUntil} = Opts]) ->
    process_flag(trap_exit, true),
    State = #state{host = Host, secrets = ets:new(?MODULE, [private]), reports = ?REPORTS:new(),
                   native_until = NativeUntil},
    {ok, with_components(Opts, State)}.

handle_call({leave, Why}, _From, State) ->
    ?GUARD(leave(Why, State), ok),
    {reply, ok, State#state{components = []}};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown}, State}.

%% No fault ends this process, for its last words would be what it holds, and keys are in that.

handle_cast({ask, Stream, Ref, Job, Deadline}, State) ->
    {noreply, ?GUARD(new_ask(Stream, Ref, Job, Deadline, State), fail(Stream, Ref, State))};
handle_cast(Request, State) ->
    {noreply, ?GUARD(cast(Request, State), State)}.

%% A reply that fails here ends as a request that is not answered in time.
handle_info(Info, State) ->
    {noreply, ?GUARD(info(Info, State), State)}.

cast({report, Stream, Outcome}, #state{reports = Reports} = State) ->
    collected(?REPORTS:add(Stream, Outcome, Reports), State);
cast(fell_back, State) ->
    State#state{native_until = now_ms() + ?GRACE_MS};
cast({reload, Opts}, State) ->
    with_components(Opts, State);
cast(refresh, #state{host = Host} = State) ->
    with_components(gen_mod:get_module_opts(Host, mod_dialback_sidecar), State).

info({reply, IQ}, State) ->
    handle_reply(IQ, State);
info({no_answer_yet, Ref, Component}, #state{secrets = Secrets} = State) ->
    case ets:member(Secrets, Ref) of
        true -> send(Ref, suspect(Component, State));
        false -> State
    end;
info({expire, Ref}, #state{secrets = Secrets} = State) ->
    State1 = case ets:lookup(Secrets, Ref) of
                 [{_, #ask{tried = [Component | _]}}] -> suspect(Component, State);
                 _ -> State
             end,
    outage(Ref, <<"the sidecar did not answer in time">>, State1);
info({route_lost, Component}, State) ->
    ask_again(Component, State);
info(flush, State) ->
    flush(State);
info({'DOWN', Monitor, process, _Pid, _Reason}, State) ->
    stream_gone(Monitor, State);
info(_Info, State) ->
    State.

%% Nobody is left waiting, whatever ends us: nobody asks us any more, and who has asked is told.
terminate(_Reason, #state{host = Host, secrets = Secrets} = State) ->
    catch unregister(process(Host)),
    [fail(Stream, Ref, State) || {_, #ask{stream = Stream, ref = Ref}} <- ets:tab2list(Secrets)],
    unheard(State).

unheard(State) ->
    receive
        {'$gen_cast', {ask, Stream, Ref, _Job, _Deadline}} ->
            fail(Stream, Ref, State),
            unheard(State)
    after 0 -> ok
    end.

fail(Stream, Ref, State) ->
    Stream ! {dialback_sidecar, Ref, {outage, <<"a fault of the module">>}},
    State.

code_change(_OldVsn, State, _Extra) ->
    {ok, State}.

%%% Asking

new_ask(Stream, Ref, Job, Deadline, #state{secrets = Secrets, asked = Asked} = State) ->
    Monitor = erlang:monitor(process, Stream),
    Timer = erlang:send_after(max(0, Deadline - now_ms()), self(), {expire, Ref}),
    ets:insert(Secrets, {Ref, #ask{ref = Ref, stream = Stream, monitor = Monitor, timer = Timer,
                                   job = Job, deadline = Deadline}}),
    send(Ref, State#state{asked = Asked#{Monitor => Ref}}).

%% Send one more request for this ask, with an id of its own.
send(Ref, State) ->
    ?GUARD(send_one(Ref, State), answer(Ref, {outage, <<"a fault of the module">>}, State)).

send_one(Ref, #state{secrets = Secrets} = State) ->
    [{_, #ask{tried = Tried} = Ask}] = ets:lookup(Secrets, Ref),
    case whom_to_ask(Tried, State) of
        [Component | _] -> send(Ask, Component, State);
        [] -> outage(Ref, <<"no sidecar is connected">>, State)
    end.

send(#ask{ref = Ref, job = Job, deadline = Deadline, timer = Timer, tried = Tried,
          ids = Ids} = Ask, Component, #state{secrets = Secrets} = State) ->
    Left = max(0, Deadline - now_ms()),
    {#iq{id = Id} = IQ, Mac} = sign(Job, Left, Component, State),
    erlang:cancel_timer(Timer),
    Timer1 = case {Tried, Job} of
                 {[], #{job := Name}} when Name /= check ->
                     erlang:send_after(Left div 2, self(), {no_answer_yet, Ref, Component});
                 _ ->
                     erlang:send_after(Left, self(), {expire, Ref})
             end,
    ets:insert(Secrets, [{Ref, Ask#ask{tried = [Component | Tried], ids = [Id | Ids],
                                       timer = Timer1}},
                         {Id, Ref, Component, Mac}]),
    route(IQ),
    State.

%% Never one that is not connected: the router would send the request over s2s. In the
%% configured order, but those that were asked already or were silent lately come last.
whom_to_ask(Tried, #state{components = Components, secrets = Secrets, suspects = Suspects}) ->
    Ranked = [{{lists:member(Component, Tried), is_suspect(Component, Suspects)}, Component}
              || Component <- Components,
                 ejabberd_router:is_my_route(Component), ets:member(Secrets, Component)],
    [Component || {_, Component} <- lists:keysort(1, Ranked)].

sign(Job, Remaining, Component, #state{host = Host, secrets = Secrets}) ->
    [{_, LinkKey}] = ets:lookup(Secrets, Component),
    %% Streams of MUC and other subdomains ask in the name of the host that owns them: it is
    %% the only sender that the listener's access rule lets through.
    IQ = #iq{id = ?WIRE:new_id(ejabberd_cluster:node_id()), type = get,
             from = jid:make(Host), to = jid:make(Component)},
    ?WIRE:request(IQ, Job, Remaining, LinkKey).

route(IQ) ->
    ejabberd_router:route(xmpp:put_meta(IQ, dialback_sidecar, request)).

is_suspect(Component, Suspects) ->
    case Suspects of
        #{Component := Until} -> now_ms() < Until;
        _ -> false
    end.

suspect(Component, #state{suspects = Suspects} = State) ->
    case is_suspect(Component, Suspects) of
        true -> ok;
        false -> ?WARNING_MSG("~ts did not answer a request in time: look at the log of "
                              "dialback-sidecar", [Component])
    end,
    State#state{suspects = Suspects#{Component => now_ms() + ?SUSPECT_MS}}.

%% One of several sidecars may be gone, and nobody tells with which requests: ask the others
%% about all that it may have had. An answer to the first asking is as good.
ask_again(Component, #state{secrets = Secrets} = State) ->
    Refs = lists:usort(ets:select(Secrets, [{{'_', '$1', Component, '_'}, [], ['$1']}])),
    lists:foldl(fun send/2, State, Refs).

%%% Answers

handle_reply(#iq{id = Id, from = #jid{luser = <<>>, lserver = Component, lresource = <<>>}} = IQ,
             #state{secrets = Secrets} = State) ->
    case {ets:lookup(Secrets, Id), ets:lookup(Secrets, Component)} of
        {[{_, Ref, Component, Mac}], [{_, LinkKey}]} -> read_reply(IQ, Ref, Mac, LinkKey, State);
        _ -> State
    end;
handle_reply(_IQ, State) ->
    State.

read_reply(#iq{type = error, from = From} = IQ, Ref, _Mac, _LinkKey, State) ->
    ?ERROR_MSG("~ts refused a request (~ts): compare the listener's password with the secret_file, "
               "its access rule with ~ts, and the hosts here with the domains, of its [[link]] in "
               "sidecar.toml", [jid:encode(From), error_name(IQ), State#state.host]),
    outage(Ref, <<"the sidecar refused the request">>, State);
read_reply(#iq{type = result, from = From, sub_els = Els}, Ref, Mac, LinkKey,
           #state{secrets = Secrets} = State) ->
    [{_, #ask{job = #{job := Job}}}] = ets:lookup(Secrets, Ref),
    case ?WIRE:reply(Job, Els, Mac, LinkKey) of
        {ok, Answer} ->
            Suspects = maps:remove(From#jid.lserver, State#state.suspects),
            answer(Ref, Answer, State#state{suspects = Suspects});
        untrusted ->
            ?ERROR_MSG("a reply of ~ts does not carry the right MAC and is not believed: is something "
                       "else than dialback-sidecar connected there, or was the password changed on "
                       "one side only?", [jid:encode(From)]),
            outage(Ref, <<"a reply of the sidecar could not be trusted">>, State)
    end.

outage(Ref, Why, #state{warned = Warned, components = Components} = State) ->
    Now = now_ms(),
    case Warned of
        {until, Until} when Now < Until -> ok;
        _ ->
            ?WARNING_MSG("no answer from a sidecar (~ts). Is dialback-sidecar running, with a "
                         "[[link]] for ~ts?", [Why, lists:join(" or ", Components)])
    end,
    answer(Ref, {outage, Why}, State#state{warned = {until, Now + ?WARN_MS}}).

%% The one answer of an ask; whatever comes later finds nothing.
answer(Ref, Answer, #state{secrets = Secrets, asked = Asked} = State) ->
    case ets:take(Secrets, Ref) of
        [{_, #ask{stream = Stream, monitor = Monitor, job = Job} = Ask}] ->
            forget(Ask, Secrets),
            Answer1 = ?GUARD(judge(Job, Answer, State), Answer),
            Stream ! {dialback_sidecar, Ref, Answer1},
            keep_or_drop_monitor(Stream, Monitor, Job, Answer1,
                                 State#state{asked = maps:remove(Monitor, Asked)});
        [] ->
            State
    end.

forget(#ask{timer = Timer, ids = Ids}, Secrets) ->
    erlang:cancel_timer(Timer),
    lists:foreach(fun(Id) -> ets:delete(Secrets, Id) end, Ids).

judge(Job, Answer, #state{host = Host, native_until = NativeUntil}) ->
    mod_dialback_sidecar_native:judge(Job, Answer, mod_dialback_sidecar:option(Host, fallback),
                                      now_ms() < NativeUntil).

%% A key in a peer's hands is watched until we learn what became of it.
keep_or_drop_monitor(Stream, Monitor, #{job := issue} = Job, {key, _},
                     #state{reports = Reports} = State) ->
    State#state{reports = ?REPORTS:key_sent(Monitor, Stream, Job, Reports)};
keep_or_drop_monitor(_Stream, Monitor, _Job, _Answer, State) ->
    erlang:demonitor(Monitor, [flush]),
    State.

error_name(IQ) ->
    try xmpp:get_error(IQ) of
        #stanza_error{reason = Reason} when is_atom(Reason) -> Reason;
        _ -> "no condition"
    catch _:_ -> "no condition"
    end.

%%% Reports

stream_gone(Monitor, #state{asked = Asked, reports = Reports, secrets = Secrets} = State) ->
    case Asked of
        #{Monitor := Ref} ->
            [forget(Ask, Secrets) || {_, Ask} <- ets:take(Secrets, Ref)],
            State#state{asked = maps:remove(Monitor, Asked)};
        _ ->
            collected(?REPORTS:stream_gone(Monitor, Reports), State)
    end.

collected({full, Reports}, State) ->
    flush(State#state{reports = Reports});
collected({more, Reports}, #state{flush = undefined} = State) ->
    State#state{reports = Reports, flush = erlang:send_after(?REPORT_MS, self(), flush)};
collected({more, Reports}, State) ->
    State#state{reports = Reports}.

flush(#state{flush = Timer} = State) when Timer /= undefined ->
    erlang:cancel_timer(Timer),
    flush(State#state{flush = undefined});
flush(#state{reports = Reports} = State) ->
    {Outcomes, Reports1} = ?REPORTS:take(Reports),
    case whom_to_ask([], State) of
        [Component | _] when Outcomes /= [] ->
            {IQ, _} = sign(#{job => report, outcomes => Outcomes}, 0, Component, State),
            route(IQ);
        _ ->
            ok
    end,
    State#state{reports = Reports1}.

%%% Leaving

leave(Why, #state{secrets = Secrets, reports = Reports} = State) ->
    flush(State),
    Asks = [{Pid, Ref, Job} || {_, #ask{stream = Pid, ref = Ref, job = Job}}
                                   <- ets:tab2list(Secrets)],
    ets:delete_all_objects(Secrets),
    %% After an update a key that is with a peer is as good as before.
    Sent = [Pid || Why == removal, Pid <- ?REPORTS:streams(Reports)],
    mod_dialback_sidecar_leave:streams(Why, Asks, Sent).

%%% Secret

with_components(Opts, #state{secrets = Secrets, components = Old} = State) ->
    New = mod_dialback_sidecar:components_of(Opts),
    lists:foreach(fun(Component) -> ets:delete(Secrets, Component) end, Old),
    lists:foreach(fun(Component) ->
                          case mod_dialback_sidecar_secret:find(Component, Opts) of
                              undefined -> complain(Component);
                              Secret -> ets:insert(Secrets, {Component, ?WIRE:link_key(Secret)})
                          end
                  end, New),
    State#state{components = New}.

complain(Component) ->
    ?ERROR_MSG("no ejabberd_service listener has a password for ~ts, so nobody there can be asked",
               [Component]).

%%% Small things

server_was_running() ->
    lists:keymember(ejabberd, 1, application:which_applications(15000)).

each_node(Fun) ->
    Hosts = [Host || Host <- ejabberd_option:hosts(),
                     gen_mod:is_loaded(Host, mod_dialback_sidecar)],
    [Fun(Host, Node) || Host <- Hosts, Node <- ejabberd_cluster:get_nodes()],
    ok.

now_ms() ->
    erlang:monotonic_time(millisecond).
