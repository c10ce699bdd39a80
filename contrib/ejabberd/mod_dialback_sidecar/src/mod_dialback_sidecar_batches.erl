%%% Which asks go into one request: those for the same sidecar, as far as they are small and have
%%% time. Pure.
-module(mod_dialback_sidecar_batches).

-export([plan/3]).

-include("mod_dialback_sidecar_ask.hrl").

-define(MAX, 32).                   % of the 64 that the protocol allows: a stanza holds them surely
-define(MAX_CERTIFICATE_BYTES, 4096).
-define(MIN_MS, 1000).              % a batch has the least time of all that is in it

%% `Candidates' says whom to ask after those that were tried, the best first. What nobody can be
%% asked comes back under `none'.
-spec plan([#ask{}], integer(), fun(([binary()]) -> [binary()])) -> [{binary() | none, [#ask{}]}].
plan(Asks, Now, Candidates) ->
    [Batch || {Component, Its} <- by_component(Asks, Candidates),
              Batch <- batches(Component, Its, Now)].

by_component(Asks, Candidates) ->
    Tried = lists:usort([Ask#ask.tried || Ask <- Asks]),
    Best = maps:from_list([{List, best(Candidates(List))} || List <- Tried]),
    maps:to_list(lists:foldr(fun(#ask{tried = List} = Ask, Acc) ->
                                     Component = maps:get(List, Best),
                                     Acc#{Component => [Ask | maps:get(Component, Acc, [])]}
                             end, #{}, Asks)).

best([Component | _]) -> Component;
best([]) -> none.

batches(none, Asks, _Now) ->
    [{none, Asks}];
batches(Component, Asks, Now) ->
    {Single, Together} = lists:partition(fun(Ask) -> is_alone(Ask, Now) end, Asks),
    [{Component, [Ask]} || Ask <- Single] ++ [{Component, Batch} || Batch <- split(Together)].

is_alone(#ask{alone = true}, _Now) ->
    true;
is_alone(#ask{job = #{job := check}}, _Now) ->
    true;
is_alone(#ask{job = Job, deadline = Deadline}, Now) ->
    Deadline - Now < ?MIN_MS
        orelse lists:any(fun(Der) -> byte_size(Der) > ?MAX_CERTIFICATE_BYTES end,
                         maps:get(certificates, Job, [])).

split([]) ->
    [];
split(Asks) when length(Asks) =< ?MAX ->
    [Asks];
split(Asks) ->
    {Batch, Rest} = lists:split(?MAX, Asks),
    [Batch | split(Rest)].
