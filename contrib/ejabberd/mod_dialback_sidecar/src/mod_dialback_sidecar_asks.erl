%%% The asks of a host's streams, the requests made for them, and the keys of the links: in a
%%% table, for dialback keys are in it, and a crash report shows no table.
-module(mod_dialback_sidecar_asks).

-export([new/0, add/2, find/2, take/2, all/1, clear/1]).
-export([requested/4, request/2, answered/2, asked/2]).
-export([due/2, is_idle/1, keep_keys/2, key/2]).

-include("mod_dialback_sidecar_ask.hrl").

%% {Number, #ask{}}; {Id, Component, Mac, [{Number, Job name}], Deadline} for each request that
%% is out; {{key, Component}, LinkKey}.

-spec new() -> ets:tid().
new() ->
    ets:new(?MODULE, [private]).

-spec add(#ask{}, ets:tid()) -> true.
add(#ask{number = Number} = Ask, Table) ->
    ets:insert(Table, {Number, Ask}).

%% Those of these asks that are not answered yet.
-spec find([pos_integer()], ets:tid()) -> [#ask{}].
find(Numbers, Table) ->
    [Ask || Number <- Numbers, {_, Ask} <- ets:lookup(Table, Number)].

%% An ask, for its one answer.
-spec take(pos_integer(), ets:tid()) -> {ok, #ask{}} | error.
take(Number, Table) ->
    case ets:take(Table, Number) of
        [{_, Ask}] -> {ok, Ask};
        [] -> error
    end.

-spec all(ets:tid()) -> [#ask{}].
all(Table) ->
    [Ask || {_, #ask{} = Ask} <- ets:tab2list(Table)].

-spec clear(ets:tid()) -> true.
clear(Table) ->
    ets:delete_all_objects(Table).

%%% Requests

%% A request with this id and MAC goes to a sidecar for these asks.
-spec requested({binary(), binary(), binary()}, [#ask{}], integer(), ets:tid()) -> true.
requested({Id, Component, Mac}, Asks, Now, Table) ->
    Asked = [{Number, Job} || #ask{number = Number, job = #{job := Job}} <- Asks],
    Deadline = lists:max([Deadline || #ask{deadline = Deadline} <- Asks]),
    ets:insert(Table, [{Id, Component, Mac, Asked, Deadline}
                       | [{Ask#ask.number, once_more(Ask, Component, Now)} || Ask <- Asks]]).

%% When half the time of a short job is over, another sidecar may still answer. (A check has been
%% given to the network by then, and takes its time.)
once_more(#ask{tried = [], job = #{job := Job}, deadline = Deadline} = Ask, Component, Now)
  when Job /= check ->
    Ask#ask{tried = [Component], due = Now + (Deadline - Now) div 2};
once_more(#ask{tried = Tried, deadline = Deadline} = Ask, Component, _Now) ->
    Ask#ask{tried = [Component | Tried], due = Deadline}.

%% What a request asked whom.
-spec request(binary(), ets:tid()) ->
          {binary(), binary(), [{pos_integer(), issue | verify | check}]} | unknown.
request(Id, Table) ->
    case ets:lookup(Table, Id) of
        [{_, Component, Mac, Asked, _}] -> {Component, Mac, Asked};
        [] -> unknown
    end.

-spec answered(binary(), ets:tid()) -> true.
answered(Id, Table) ->
    ets:delete(Table, Id).

%% The asks that a sidecar may have at hand; those first that let two servers that wait for each
%% other go on.
-spec asked(binary(), ets:tid()) -> [pos_integer()].
asked(Component, Table) ->
    Asked = lists:append(ets:select(Table, [{{'_', Component, '_', '$1', '_'}, [], ['$1']}])),
    Order = #{issue => 1, verify => 2, check => 3},
    [Number || {_, Number} <- lists:usort([{maps:get(Job, Order), Number}
                                           || {Number, Job} <- Asked])].

%%% Time

%% The asks about which something is to be done now. Requests that nobody waits for any more are
%% forgotten.
-spec due(integer(), ets:tid()) -> [pos_integer()].
due(Now, Table) ->
    ets:select_delete(Table, [{{'_', '_', '_', '_', '$1'}, [{'=<', '$1', Now}], [true]}]),
    lists:sort(ets:select(Table, [{{'$1', #ask{due = '$2', _ = '_'}},
                                   [{'=<', '$2', Now}], ['$1']}])).

%% Whether nothing is asked, and nothing can be late.
-spec is_idle(ets:tid()) -> boolean().
is_idle(Table) ->
    ets:select_count(Table, [{{{key, '_'}, '_'}, [], [true]}]) == ets:info(Table, size).

%%% Keys of the links

-spec keep_keys([{binary(), mod_dialback_sidecar_wire:link_key()}], ets:tid()) -> true.
keep_keys(Keys, Table) ->
    ets:match_delete(Table, {{key, '_'}, '_'}),
    ets:insert(Table, [{{key, Component}, LinkKey} || {Component, LinkKey} <- Keys]).

-spec key(binary(), ets:tid()) -> {ok, mod_dialback_sidecar_wire:link_key()} | error.
key(Component, Table) ->
    case ets:lookup(Table, {key, Component}) of
        [{_, LinkKey}] -> {ok, LinkKey};
        [] -> error
    end.
