%%% What became of domain pairs, collected for the sidecar, and which keys are in a peer's hands:
%%% when their stream ends without a result, that is an outcome too. A value; whoever holds it
%%% owns the monitors in it.
-module(mod_dialback_sidecar_reports).

-export([new/0, key_sent/4, add/3, stream_gone/2, take/1, streams/1]).

-define(MAX, 64).                   % in one report (docs/link-protocol.md)

-record(reports, {sent = #{} :: #{reference() => held(), held() => reference()},
                  outcomes = [] :: [map()]}).      % the last one first

-type held() :: {pid(), #{sender := binary(), target := binary(), stream := binary()}}.
-opaque reports() :: #reports{}.
-export_type([reports/0]).

-spec new() -> reports().
new() ->
    #reports{}.

%% A stream, already monitored, got a key to send.
-spec key_sent(reference(), pid(), map(), reports()) -> reports().
key_sent(Monitor, Stream, Job, #reports{sent = Sent} = Reports) ->
    Held = {Stream, pair(Job)},
    Reports#reports{sent = Sent#{Monitor => Held, Held => Monitor}}.

%% A stream learnt an outcome.
-spec add(pid(), map(), reports()) -> {more | full, reports()}.
add(Stream, #{role := initiating} = Outcome, #reports{sent = Sent} = Reports) ->
    Held = {Stream, pair(Outcome)},
    case maps:take(Held, Sent) of
        {Monitor, Sent1} ->
            erlang:demonitor(Monitor, [flush]),
            collect(Outcome, Reports#reports{sent = maps:remove(Monitor, Sent1)});
        error ->
            collect(Outcome, Reports)
    end;
add(_Stream, Outcome, Reports) ->
    collect(Outcome, Reports).

%% A monitored process has ended.
-spec stream_gone(reference(), reports()) -> {more | full, reports()}.
stream_gone(Monitor, #reports{sent = Sent} = Reports) ->
    case maps:take(Monitor, Sent) of
        {{_Stream, Pair} = Held, Sent1} ->
            collect(Pair#{role => initiating, mechanism => dialback, type => closed},
                    Reports#reports{sent = maps:remove(Held, Sent1)});
        error ->
            {more, Reports}
    end.

%% What to report now, in order.
-spec take(reports()) -> {[map()], reports()}.
take(#reports{outcomes = Outcomes} = Reports) ->
    {lists:reverse(Outcomes), Reports#reports{outcomes = []}}.

%% The streams whose key is with a peer.
-spec streams(reports()) -> [pid()].
streams(#reports{sent = Sent}) ->
    [Stream || {Stream, _Pair} <- maps:keys(Sent)].

pair(Outcome) ->
    maps:with([sender, target, stream], Outcome).

collect(Outcome, #reports{outcomes = Outcomes} = Reports) ->
    Reports1 = Reports#reports{outcomes = [Outcome | Outcomes]},
    case length(Outcomes) + 1 >= ?MAX of
        true -> {full, Reports1};
        false -> {more, Reports1}
    end.
