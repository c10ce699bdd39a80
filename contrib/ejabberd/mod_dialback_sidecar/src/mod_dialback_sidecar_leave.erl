%%% Takes leave of the streams that wait for the sidecar when the module goes.
-module(mod_dialback_sidecar_leave).

-export([streams/3]).

-define(LEAVE_MS, 3000).

%% Tell each stream what it asked, and wait until it has gone on: it runs code of the module
%% for the last time here. `Sent' are the streams whose key is with a peer.
-spec streams(update | removal, [{pid(), reference(), map()}], [pid()]) -> ok.
streams(Why, Asks, Sent) ->
    Jobs = lists:foldl(fun({Pid, Ref, Job}, Acc) ->
                               maps:update_with(Pid, fun(L) -> [{Ref, Job} | L] end,
                                                [{Ref, Job}], Acc)
                       end, maps:from_list([{Pid, []} || Pid <- Sent]), Asks),
    Tag = make_ref(),
    Waiting = maps:fold(fun(Pid, PidJobs, Acc) ->
                                stream(Pid, PidJobs, Why, Tag),
                                [{Pid, erlang:monitor(process, Pid)} | Acc]
                        end, [], Jobs),
    wait(Waiting, Tag, now_ms() + ?LEAVE_MS).

stream(Pid, [{_, #{job := Job}} | _] = Jobs, Why, Tag) when Job == check; Job == verify ->
    ejabberd_s2s_in:update_state(
      Pid, {mod_dialback_sidecar_in, leave, [Why, Jobs, self(), Tag]});
stream(Pid, _Jobs, Why, Tag) ->
    ejabberd_s2s_out:update_state(Pid, {mod_dialback_sidecar_out, leave, [Why, self(), Tag]}).

wait([{Pid, Monitor} | Waiting], Tag, Deadline) ->
    receive
        {Tag, Pid} -> ok;
        {'DOWN', Monitor, process, Pid, _} -> ok
    after max(0, Deadline - now_ms()) -> ok
    end,
    erlang:demonitor(Monitor, [flush]),
    wait(Waiting, Tag, Deadline);
wait([], _Tag, _Deadline) ->
    ok.

now_ms() ->
    erlang:monotonic_time(millisecond).
