%%% What goes wrong between a host and its sidecars, in the log: each once a minute at most. A
%%% value, from what was complained about to when it may be again.
-module(mod_dialback_sidecar_complaints).

-export([new/0, no_answer/3, refused/4, untrusted/2, silent/1, no_password/1]).

-include("logger.hrl").

-define(COMPLAINT_MS, 60000).

-opaque complaints() :: #{term() => integer()}.
-export_type([complaints/0]).

-spec new() -> complaints().
new() ->
    #{}.

-spec no_answer(binary(), [binary()], complaints()) -> complaints().
no_answer(Why, Components, Complaints) ->
    rarely(no_answer, Complaints, fun() ->
        ?WARNING_MSG("no answer from a sidecar (~ts). Is dialback-sidecar running, with a "
                     "[[link]] for ~ts?", [Why, lists:join(" or ", Components)])
    end).

-spec refused(atom() | binary() | string(), binary(), binary(), complaints()) -> complaints().
refused(Condition, Component, Host, Complaints) ->
    rarely({refused, Condition}, Complaints, fun() ->
        ?ERROR_MSG("~ts refused a request (~ts): compare the listener's password with the "
                   "secret_file, its access rule with ~ts, and the hosts here with the domains, of "
                   "its [[link]] in sidecar.toml", [Component, Condition, Host])
    end).

-spec untrusted(binary(), complaints()) -> complaints().
untrusted(Component, Complaints) ->
    rarely({untrusted, Component}, Complaints, fun() ->
        ?ERROR_MSG("a reply of ~ts does not carry the right MAC and is not believed: is something "
                   "else than dialback-sidecar connected there, or was the password changed on one "
                   "side only?", [Component])
    end).

-spec silent(binary()) -> any().
silent(Component) ->
    ?WARNING_MSG("~ts did not answer a request in time: look at the log of dialback-sidecar",
                 [Component]).

-spec no_password(binary()) -> any().
no_password(Component) ->
    ?ERROR_MSG("no ejabberd_service listener has a password for ~ts, so nobody there can be asked",
               [Component]).

rarely(About, Complaints, Complain) ->
    Now = erlang:monotonic_time(millisecond),
    case Complaints of
        #{About := Until} when Now < Until ->
            Complaints;
        _ ->
            Complain(),
            Complaints#{About => Now + ?COMPLAINT_MS}
    end.
