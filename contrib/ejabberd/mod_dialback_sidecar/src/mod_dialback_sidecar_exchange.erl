%%% What a host and its sidecars say to each other: asks of streams go out as requests, several in
%%% one where that can be, once more when an answer is late; each ask gets exactly one answer,
%%% whatever is late, lost or forged. A value that its one process holds.
-module(mod_dialback_sidecar_exchange).

-export([new/1, with_components/2, native_keys_count/1]).
-export([ask/5, send/1, reply/4, lost/2, tick/1, report/2, issued/1, leave/1]).

-include("xmpp.hrl").
-include("mod_dialback_sidecar.hrl").
-include("mod_dialback_sidecar_ask.hrl").

-define(WIRE, mod_dialback_sidecar_wire).
-define(ASKS, mod_dialback_sidecar_asks).
-define(CHOICE, mod_dialback_sidecar_choice).
-define(COMPLAINTS, mod_dialback_sidecar_complaints).
-define(GRACE_MS, 120000).          % how long keys of the native module are honoured after it
-define(TICK_MS, 50).               % how late it may be noticed that something is late

-record(exchange, {host :: binary(),
                   components = [] :: [binary()],
                   choice = ?CHOICE:new([], none) :: ?CHOICE:choice(),
                   fallback = none :: none | native,
                   asks = ?ASKS:new() :: ets:tid(),
                   ids = ?WIRE:new_ids() :: binary(),
                   next = 1 :: pos_integer(),       % the number of the next ask or request
                   unsent = [] :: [pos_integer()],  % asks, the last one first
                   issued = [] :: [{pid(), map()}], % keys that streams were given
                   ticks = false :: boolean(),
                   complaints = ?COMPLAINTS:new() :: ?COMPLAINTS:complaints(),
                   native_until = now_ms() :: integer()}).

-opaque exchange() :: #exchange{}.
-export_type([exchange/0]).

%% The process that calls this will get the messages `send' and `tick', which are for here.
-spec new(binary()) -> exchange().
new(Host) ->
    #exchange{host = Host}.

%% Ask the sidecars in these options of the module; nobody, when they are undefined.
-spec with_components(gen_mod:opts() | undefined, exchange()) -> exchange().
with_components(undefined, State) ->
    State#exchange{components = [], choice = ?CHOICE:new([], none)};
with_components(Opts, #exchange{asks = Asks} = State) ->
    Components = mod_dialback_sidecar:components_of(Opts),
    Keys = [{Component, ?WIRE:link_key(Secret)}
            || Component <- Components, Secret <- password(Component, Opts)],
    ?ASKS:keep_keys(Keys, Asks),
    Fallback = maps:get(fallback, Opts),
    State#exchange{components = Components, fallback = Fallback,
                   choice = ?CHOICE:new([Component || {Component, _} <- Keys], Fallback)}.

password(Component, Opts) ->
    case mod_dialback_sidecar_secret:find(Component, Opts) of
        undefined ->
            ?COMPLAINTS:no_password(Component),
            [];
        Secret ->
            [Secret]
    end.

%% Keys that the native module issued until now are good for a while.
-spec native_keys_count(exchange()) -> exchange().
native_keys_count(State) ->
    State#exchange{native_until = now_ms() + ?GRACE_MS}.

%%% Asking

%% Have a job done for a stream until a time. It goes out with all that is asked until the message
%% `send' comes back to this process.
-spec ask(pid(), reference(), map(), integer(), exchange()) -> exchange().
ask(Stream, Ref, Job, Deadline,
    #exchange{asks = Asks, next = Number, unsent = Unsent} = State) ->
    ?ASKS:add(#ask{number = Number, ref = Ref, stream = Stream, job = Job,
                   deadline = Deadline, due = Deadline}, Asks),
    Unsent == [] andalso (self() ! send),
    with_tick(State#exchange{next = Number + 1, unsent = [Number | Unsent]}).

-spec send(exchange()) -> exchange().
send(#exchange{unsent = Unsent} = State) ->
    State1 = State#exchange{unsent = []},
    ?GUARD(send(lists:reverse(Unsent), State1), State1).

%% Send one more request for each of these asks, several in one where that can be.
send(Numbers, #exchange{asks = Asks, choice = Choice} = State) ->
    Now = now_ms(),
    Candidates = fun(Tried) -> ?CHOICE:candidates(Tried, Now, Choice) end,
    lists:foldl(fun({Component, Batch}, Acc) -> send(Batch, Component, Now, Acc) end,
                State, mod_dialback_sidecar_batches:plan(?ASKS:find(Numbers, Asks), Now, Candidates)).

send(Batch, none, _Now, State) ->
    outage(numbers(Batch), <<"no sidecar is connected">>, State);
send(Batch, Component, Now, State) ->
    ?GUARD(send_request(Batch, Component, Now, State),
           answer([{Number, {outage, <<"a fault of the module">>}} || Number <- numbers(Batch)],
                  State)).

send_request(Batch, Component, Now, #exchange{asks = Asks} = State) ->
    Left = lists:min([Deadline || #ask{deadline = Deadline} <- Batch]) - Now,
    {#iq{id = Id} = IQ, Mac, State1} =
        sign([Job || #ask{job = Job} <- Batch], max(0, Left), Component, State),
    ?ASKS:requested({Id, Component, Mac}, Batch, Now, Asks),
    route(IQ),
    State1.

sign(Jobs, Remaining, Component, #exchange{host = Host, asks = Asks, ids = Ids,
                                        next = Number} = State) ->
    {ok, LinkKey} = ?ASKS:key(Component, Asks),
    %% Streams of MUC and other subdomains ask in the name of the host that owns them: it is
    %% the only sender that the listener's access rule lets through.
    IQ = #iq{id = ?WIRE:id(Ids, Number, ejabberd_cluster:node_id()), type = get,
             from = jid:make(Host), to = jid:make(Component)},
    {IQ1, Mac} = ?WIRE:request(IQ, Jobs, Remaining, LinkKey),
    {IQ1, Mac, State#exchange{next = Number + 1}}.

route(IQ) ->
    ejabberd_router:route(xmpp:put_meta(IQ, dialback_sidecar, request)).

numbers(Asks) ->
    [Number || #ask{number = Number} <- Asks].

%%% What is late

%% It ticks while there is something that can be late.
with_tick(#exchange{ticks = true} = State) ->
    State;
with_tick(State) ->
    erlang:send_after(?TICK_MS, self(), tick),
    State#exchange{ticks = true}.

-spec tick(exchange()) -> exchange().
tick(#exchange{asks = Asks} = State) ->
    Now = now_ms(),
    State1 = ?GUARD(late(Now, State), State),
    case ?ASKS:is_idle(Asks) of
        true -> State1#exchange{ticks = false};
        false -> with_tick(State1#exchange{ticks = false})
    end.

late(Now, #exchange{asks = Asks} = State) ->
    lists:foldl(fun(Number, Acc) -> late(?ASKS:find([Number], Asks), Now, Acc) end,
                State, ?ASKS:due(Now, Asks)).

%% A connection of this sidecar has gone, there may be others: whatever it may have had at hand is
%% asked once more. An answer to the first asking is as good.
-spec lost(binary(), exchange()) -> exchange().
lost(Component, #exchange{asks = Asks} = State) ->
    send(?ASKS:asked(Component, Asks), State).

%% (What was due may not be any more, after what was done about the one before.)
late([#ask{due = Due}], Now, State) when Due > Now ->
    State;
late([#ask{number = Number, tried = Tried, deadline = Deadline}], Now, State) ->
    State1 = lists:foldl(fun(Component, Acc) -> silent(Component, Now, Acc) end,
                         State, lists:sublist(Tried, 1)),
    case Now >= Deadline of
        true -> outage([Number], <<"the sidecar did not answer in time">>, State1);
        false -> send([Number], State1)
    end;
late([], _Now, State) ->
    State.

silent(Component, Now, #exchange{asks = Asks, choice = Choice} = State) ->
    {What, Choice1} = ?CHOICE:silent(Component, Now, Choice),
    What /= known andalso ?COMPLAINTS:silent(Component),
    State1 = State#exchange{choice = Choice1},
    case What of
        %% Whoever waits for it as well is not kept waiting.
        skip -> send(?ASKS:asked(Component, Asks), State1);
        _ -> State1
    end.

%%% Answers

-spec reply(binary(), binary(), {result, [xmlel()]} | {error, atom() | string()}, exchange()) ->
          exchange().
reply(Id, Component, Content, #exchange{asks = Asks} = State) ->
    case {?ASKS:request(Id, Asks), ?ASKS:key(Component, Asks)} of
        {{Component, Mac, Asked}, {ok, LinkKey}} ->
            ?ASKS:answered(Id, Asks),
            {Numbers, Jobs} = lists:unzip(Asked),
            case Content of
                {error, Condition} ->
                    refused(Numbers, Condition, Component, State);
                {result, Els} ->
                    read(?WIRE:reply(Jobs, Els, Mac, LinkKey), Component, Numbers, State)
            end;
        _ ->
            State
    end.

refused([Number], Condition, Component, #exchange{host = Host, complaints = Complaints} = State) ->
    Complaints1 = ?COMPLAINTS:refused(Condition, Component, Host, Complaints),
    outage([Number], <<"the sidecar refused the request">>, State#exchange{complaints = Complaints1});
%% By one that does not know batches, or does not get any: each by itself has an answer.
refused(Numbers, _Condition, Component, #exchange{asks = Asks} = State) ->
    [?ASKS:add(Ask#ask{alone = true, tried = lists:delete(Component, Ask#ask.tried)}, Asks)
     || Ask <- ?ASKS:find(Numbers, Asks)],
    send(Numbers, State).

read({ok, Answers}, Component, Numbers, #exchange{choice = Choice} = State) ->
    {Refused, Others} = lists:partition(fun({_, Answer}) -> element(1, Answer) == refused end,
                                        lists:zip(Numbers, Answers)),
    State1 = answer(Others, State#exchange{choice = ?CHOICE:answered(Component, Choice)}),
    lists:foldl(fun({Number, {refused, Condition}}, Acc) ->
                        refused([Number], Condition, Component, Acc)
                end, State1, Refused);
read(untrusted, Component, Numbers, #exchange{complaints = Complaints} = State) ->
    outage(Numbers, <<"a reply of the sidecar could not be trusted">>,
           State#exchange{complaints = ?COMPLAINTS:untrusted(Component, Complaints)}).

outage(Numbers, Why, #exchange{components = Components, complaints = Complaints} = State) ->
    answer([{Number, {outage, Why}} || Number <- Numbers],
           State#exchange{complaints = ?COMPLAINTS:no_answer(Why, Components, Complaints)}).

%% The one answer of each ask; whatever comes later finds nothing.
answer(Answers, State) ->
    lists:foldl(fun({Number, Answer}, #exchange{asks = Asks} = Acc) ->
                        case ?ASKS:take(Number, Asks) of
                            {ok, Ask} -> answer(Ask, Answer, Acc);
                            error -> Acc
                        end
                end, State, Answers).

answer(#ask{stream = Stream, ref = Ref, job = Job}, Answer, State) ->
    Answer1 = ?GUARD(judge(Job, Answer, State), Answer),
    Stream ! {dialback_sidecar, Ref, Answer1},
    case {Job, Answer1} of
        {#{job := issue}, {key, _}} ->
            State#exchange{issued = [{Stream, Job} | State#exchange.issued]};
        _ ->
            State
    end.

judge(Job, Answer, #exchange{fallback = Fallback, native_until = NativeUntil}) ->
    mod_dialback_sidecar_native:judge(Job, Answer, Fallback, now_ms() < NativeUntil).

%% The keys that were given to streams since this was asked last, in order.
-spec issued(exchange()) -> {[{pid(), map()}], exchange()}.
issued(#exchange{issued = []} = State) ->
    {[], State};
issued(#exchange{issued = Issued} = State) ->
    {lists:reverse(Issued), State#exchange{issued = []}}.

%%% Reports and leaving

%% Tell a sidecar what became of domain pairs; best effort.
-spec report([map()], exchange()) -> exchange().
report(Outcomes, #exchange{choice = Choice} = State) ->
    case ?CHOICE:candidates([], now_ms(), Choice) of
        [Component | _] when Outcomes /= [] ->
            {IQ, _, State1} = sign([#{job => report, outcomes => Outcomes}], 0, Component, State),
            route(IQ),
            State1;
        _ ->
            State
    end.

%% Everything that waits, and will get no answer from here.
-spec leave(exchange()) -> {[{pid(), reference(), map()}], exchange()}.
leave(#exchange{asks = Asks} = State) ->
    Waiting = [{Pid, Ref, Job} || #ask{stream = Pid, ref = Ref, job = Job} <- ?ASKS:all(Asks)],
    ?ASKS:clear(Asks),
    {Waiting, with_components(undefined, State)}.

now_ms() ->
    erlang:monotonic_time(millisecond).
