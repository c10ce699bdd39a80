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

-include("xmpp.hrl").
-include("mod_dialback_sidecar.hrl").

-define(EXCHANGE, mod_dialback_sidecar_exchange).
-define(REPORTS, mod_dialback_sidecar_reports).
-define(REPORT_MS, 1000).           % reports are collected that long, or until they are many
-define(LEAVE_MS, 6000).
-define(HEAP_WORDS, 50000).

-record(state, {host :: binary(),
                exchange :: ?EXCHANGE:exchange(),
                reports :: ?REPORTS:reports(),
                flush :: reference() | undefined}).

%%% For the streams

%% Have a job done within so many milliseconds. The calling process will get
%% `{dialback_sidecar, Ref, Answer}', Answer being an answer of mod_dialback_sidecar_wire,
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
    gen_mod:start_child(?MODULE, Host, Opts#{server_was_running => server_was_running()}).

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
reply(#iq{id = Id, from = #jid{luser = <<>>, lserver = Component, lresource = <<>>},
          to = #jid{luser = <<>>, lserver = Host}} = IQ) ->
    case mod_dialback_sidecar_wire:node_of_id(Id) of
        {ok, NodeId} ->
            case gen_mod:is_loaded(Host, mod_dialback_sidecar) of
                true ->
                    Node = ejabberd_cluster:get_node_by_id(NodeId),
                    ejabberd_cluster:send({process(Host), Node},
                                          {reply, Id, Component, content(IQ)}),
                    taken;
                false ->
                    not_ours
            end;
        error ->
            not_ours
    end;
reply(_) ->
    not_ours.

content(#iq{type = result, sub_els = Els}) -> {result, Els};
content(#iq{type = error} = IQ) -> {error, error_name(IQ)}.

error_name(IQ) ->
    try xmpp:get_error(IQ) of
        #stanza_error{reason = Reason} when is_atom(Reason) -> Reason;
        _ -> "no condition"
    catch _:_ -> "no condition"
    end.

-spec process(binary()) -> atom().
process(Host) ->
    gen_mod:get_module_proc(Host, ?MODULE).

%%% gen_server

init([Host, #{server_was_running := WasRunning} = Opts]) ->
    process_flag(trap_exit, true),
    %% What a batch takes, so that it is not collected several times on the way.
    process_flag(min_heap_size, ?HEAP_WORDS),
    Exchange = ?EXCHANGE:with_components(Opts, ?EXCHANGE:new(Host)),
    %% A server that was up before us has keys of its own in flight.
    Exchange1 = case WasRunning of
                    true -> ?EXCHANGE:native_keys_count(Exchange);
                    false -> Exchange
                end,
    {ok, #state{host = Host, exchange = Exchange1, reports = ?REPORTS:new()}}.

handle_call({leave, Why}, _From, State) ->
    {reply, ok, ?GUARD(leave(Why, State), State)};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown}, State}.

%% No fault ends this process, for its last words would be what it holds, and keys are in that.

handle_cast({ask, Stream, Ref, Job, Deadline}, #state{exchange = Exchange} = State) ->
    {noreply, ?GUARD(State#state{exchange = ?EXCHANGE:ask(Stream, Ref, Job, Deadline, Exchange)},
                     fail(Stream, Ref, State))};
handle_cast(Request, State) ->
    {noreply, ?GUARD(cast(Request, State), State)}.

%% A reply that fails here ends as a request that is not answered in time.
handle_info(Info, State) ->
    {noreply, ?GUARD(watch_keys(info(Info, State)), State)}.

cast({report, Stream, Outcome}, #state{reports = Reports} = State) ->
    collected(?REPORTS:add(Stream, Outcome, Reports), State);
cast(fell_back, #state{exchange = Exchange} = State) ->
    State#state{exchange = ?EXCHANGE:native_keys_count(Exchange)};
cast({reload, Opts}, #state{exchange = Exchange} = State) ->
    State#state{exchange = ?EXCHANGE:with_components(Opts, Exchange)};
cast(refresh, #state{host = Host} = State) ->
    cast({reload, gen_mod:get_module_opts(Host, mod_dialback_sidecar)}, State).

info(send, #state{exchange = Exchange} = State) ->
    State#state{exchange = ?EXCHANGE:send(Exchange)};
info({reply, Id, Component, Content}, #state{exchange = Exchange} = State) ->
    State#state{exchange = ?EXCHANGE:reply(Id, Component, Content, Exchange)};
info(tick, #state{exchange = Exchange} = State) ->
    State#state{exchange = ?EXCHANGE:tick(Exchange)};
info({route_lost, Component}, #state{exchange = Exchange} = State) ->
    State#state{exchange = ?EXCHANGE:lost(Component, Exchange)};
info(flush, State) ->
    flush(State);
info({'DOWN', Monitor, process, _Pid, _Reason}, #state{reports = Reports} = State) ->
    collected(?REPORTS:stream_gone(Monitor, Reports), State);
info(_Info, State) ->
    State.

%% A key in a peer's hands is watched until we learn what became of it.
watch_keys(#state{exchange = Exchange, reports = Reports} = State) ->
    case ?EXCHANGE:issued(Exchange) of
        {[], _} ->
            State;
        {Issued, Exchange1} ->
            Reports1 = lists:foldl(fun({Stream, Job}, Acc) ->
                                           Monitor = erlang:monitor(process, Stream),
                                           ?REPORTS:key_sent(Monitor, Stream, Job, Acc)
                                   end, Reports, Issued),
            State#state{exchange = Exchange1, reports = Reports1}
    end.

%% Nobody is left waiting, whatever ends us: nobody asks us any more, and who has asked is told.
terminate(_Reason, #state{host = Host, exchange = Exchange} = State) ->
    catch unregister(process(Host)),
    {Waiting, _} = ?EXCHANGE:leave(Exchange),
    [fail(Stream, Ref, State) || {Stream, Ref, _Job} <- Waiting],
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

%%% Reports

collected({full, Reports}, State) ->
    flush(State#state{reports = Reports});
collected({more, Reports}, #state{flush = undefined} = State) ->
    State#state{reports = Reports, flush = erlang:send_after(?REPORT_MS, self(), flush)};
collected({more, Reports}, State) ->
    State#state{reports = Reports}.

flush(#state{flush = Timer} = State) when Timer /= undefined ->
    erlang:cancel_timer(Timer),
    flush(State#state{flush = undefined});
flush(#state{reports = Reports, exchange = Exchange} = State) ->
    {Outcomes, Reports1} = ?REPORTS:take(Reports),
    State#state{reports = Reports1, exchange = ?EXCHANGE:report(Outcomes, Exchange)}.

%%% Leaving

leave(Why, State) ->
    #state{exchange = Exchange, reports = Reports} = State1 = flush(State),
    {Waiting, Exchange1} = ?EXCHANGE:leave(Exchange),
    %% After an update a key that is with a peer is as good as before.
    Sent = [Pid || Why == removal, Pid <- ?REPORTS:streams(Reports)],
    ?GUARD(mod_dialback_sidecar_leave:streams(Why, Waiting, Sent), ok),
    State1#state{exchange = Exchange1}.

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
