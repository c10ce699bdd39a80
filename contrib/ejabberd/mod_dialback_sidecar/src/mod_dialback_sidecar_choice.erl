%%% Whom to ask: the sidecars of a host in the configured order, without those that are not
%%% connected, and those that were silent lately last, or not at all where the native module
%%% can decide instead. A value, and time an argument.
-module(mod_dialback_sidecar_choice).

-export([new/2, candidates/3, silent/3, answered/2]).

-define(SUSPECT_MS, 10000).         % how long a sidecar that was silent is asked last
-define(SKIPPED_MS, 60000).         % ... or, with the fallback, not at all

-record(choice, {components :: [binary()],
                 skips :: boolean(),
                 suspects = #{} :: #{binary() => integer()}}).    % until when

-opaque choice() :: #choice{}.
-export_type([choice/0]).

-spec new([binary()], none | native) -> choice().
new(Components, Fallback) ->
    #choice{components = Components, skips = Fallback == native}.

%% Never one that is not connected: the router would send the request over s2s. Those that were
%% asked already come last too.
-spec candidates([binary()], integer(), choice()) -> [binary()].
candidates(Tried, Now, #choice{components = Components} = Choice) ->
    case [Component || Component <- Components, ejabberd_router:is_my_route(Component)] of
        [Only] when Tried == [], Choice#choice.suspects == #{} ->
            [Only];
        Connected ->
            Ranked = [{{lists:member(Component, Tried), Suspect}, Component}
                      || Component <- Connected,
                         Suspect <- [is_suspect(Component, Now, Choice)],
                         not (Suspect andalso Choice#choice.skips)],
            [Component || {_, Component} <- lists:keysort(1, Ranked)]
    end.

%% A sidecar did not answer in time. `news' unless that was known; `skip' when it is not asked
%% any more for a while, and who waits for it waits in vain.
-spec silent(binary(), integer(), choice()) -> {known | news | skip, choice()}.
silent(Component, Now, #choice{suspects = Suspects, skips = Skips} = Choice) ->
    {News, Milliseconds} = if Skips -> {skip, ?SKIPPED_MS};
                              true -> {news, ?SUSPECT_MS}
                           end,
    What = case is_suspect(Component, Now, Choice) of
               true -> known;
               false -> News
           end,
    {What, Choice#choice{suspects = Suspects#{Component => Now + Milliseconds}}}.

-spec answered(binary(), choice()) -> choice().
answered(Component, #choice{suspects = Suspects} = Choice) ->
    case Suspects of
        #{Component := _} -> Choice#choice{suspects = maps:remove(Component, Suspects)};
        _ -> Choice
    end.

is_suspect(Component, Now, #choice{suspects = Suspects}) ->
    case Suspects of
        #{Component := Until} -> Now < Until;
        _ -> false
    end.
