%%% Where mod_s2s_dialback has a say beside the sidecar: for keys of its own, while they count,
%%% and for all that nobody else answers, if the operator wants it so.
-module(mod_dialback_sidecar_native).

-export([judge/4, is_key/1]).

%% The answer of a job after the native module was heard. `Counts' says whether its keys count
%% now: shortly after it was in charge. A check that it is to do comes back with the key,
%% in a shape that no log shows, should nobody be there to take it.
-spec judge(map(), term(), none | native, boolean()) -> term().
judge(#{job := verify}, {verdict, valid, _} = Answer, _Fallback, _Counts) ->
    Answer;
judge(#{job := verify} = Job, Answer, Fallback, Counts) ->
    IsOutage = element(1, Answer) == outage,
    case (Counts orelse (IsOutage andalso Fallback == native)) andalso is_key(Job) of
        true -> {verdict, valid, <<"native">>};
        false -> Answer
    end;
judge(#{job := check, key := Key}, {outage, Why}, native, _Counts) ->
    {native, Why, fun() -> Key end};
judge(_Job, Answer, _Fallback, _Counts) ->
    Answer.

%% Whether a key is one of those that it issues: XEP-0185 over the server's shared secret.
-spec is_key(#{sender := binary(), target := binary(), stream := binary(), key := binary(),
               _ => _}) -> boolean().
is_key(#{sender := Sender, target := Target, stream := Stream, key := Key}) ->
    Secret = str:to_hexlist(crypto:hash(sha256, ejabberd_config:get_shared_key())),
    Key == str:to_hexlist(crypto:mac(hmac, sha256, Secret, [Target, " ", Sender, " ", Stream])).
