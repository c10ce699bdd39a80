%%% The link protocol of dialback-sidecar as XML elements: requests out, replies in,
%%% and the MAC over both (docs/link-protocol.md). Pure: no process, no clock, no socket.
-module(mod_dialback_sidecar_wire).

-export([link_key/1, new_id/1, node_of_id/1, request/4, reply/4]).
-export([visible/1, trimmed_key/1, domain/1]).

-include("xmpp.hrl").

-define(NS, <<"urn:dialback-sidecar:1">>).
-define(ID_PREFIX, "dialback-").
-define(MAX_BYTES, 256).

-type job() :: #{job := issue | verify | check,
                 sender := binary(), target := binary(), stream := binary(),
                 key => binary(), ip => binary(), encrypted => boolean(),
                 chain => binary(), certificates => [binary()]}
             | #{job := report, outcomes := [outcome()]}.
-type outcome() :: #{role := initiating | receiving | authoritative,
                     mechanism := dialback | external,
                     sender := binary(), target := binary(), stream := binary(),
                     type := valid | invalid | error | closed}.
-type answer() :: {key, binary()}
                | {verdict, valid | invalid, binary()}
                | {verdict, error, binary(), binary()}.
-export_type([job/0, outcome/0, answer/0]).

%% The key both ends derive from the component's secret.
-spec link_key(binary()) -> binary().
link_key(Secret) ->
    hmac(Secret, [?NS, " link key"]).

%% An iq id that is never used twice; it names the node that waits for the answer.
-spec new_id(binary()) -> binary().
new_id(NodeId) ->
    Random = hex(crypto:strong_rand_bytes(16)),
    <<?ID_PREFIX, Random/binary, $-, NodeId/binary>>.

-spec node_of_id(binary()) -> {ok, binary()} | error.
node_of_id(<<?ID_PREFIX, _:32/binary, $-, NodeId/binary>>) -> {ok, NodeId};
node_of_id(_) -> error.

%% Put the payload of a job, with the milliseconds that remain for it, into an iq that
%% has its id, from and to already. Returns the request's MAC too: replies are bound to it.
-spec request(iq(), job(), non_neg_integer(), binary()) -> {iq(), binary()}.
request(#iq{id = Id, from = From, to = To} = IQ, Job, Remaining, LinkKey) ->
    {Type, #xmlel{attrs = Attrs} = Payload} = payload(Job, integer_to_binary(Remaining)),
    Mac = hex(hmac(LinkKey, [field(<<"request">>), field(Id),
                             field(jid:encode(From)), field(jid:encode(To)),
                             field(atom_to_binary(Type, latin1)), element(Payload)])),
    Signed = Payload#xmlel{attrs = [{<<"mac">>, Mac} | Attrs]},
    {IQ#iq{type = Type, sub_els = [Signed]}, Mac}.

%% What a reply says, if it is one: exactly one element of ours, that fits the job and has
%% the MAC which only someone with the component's secret can make for this very request.
-spec reply(issue | verify | check, [xmlel() | term()], binary(), binary()) ->
          {ok, answer()} | untrusted.
reply(Job, Els, RequestMac, LinkKey) ->
    case [El || #xmlel{} = El <- Els] of
        [#xmlel{} = El] ->
            Expected = hex(hmac(LinkKey, [field(<<"reply">>), field(RequestMac), element(El)])),
            Given = fxml:get_tag_attr_s(<<"mac">>, El),
            case fxml:get_tag_attr_s(<<"xmlns">>, El) == ?NS andalso equal(Expected, Given) of
                true -> answer(Job, El);
                false -> untrusted
            end;
        _ ->
            untrusted
    end.

%% 1 to 256 visible ASCII characters: what a stream ID or a key must be.
-spec visible(binary()) -> boolean().
visible(Text) when byte_size(Text) >= 1, byte_size(Text) =< ?MAX_BYTES ->
    lists:all(fun(C) -> C >= 16#21 andalso C =< 16#7e end, binary_to_list(Text));
visible(_) ->
    false.

%% A received key, trimmed of XML white space.
-spec trimmed_key(binary()) -> {ok, binary()} | error.
trimmed_key(Text) when byte_size(Text) =< 16 * ?MAX_BYTES ->
    Key = re:replace(Text, "^[ \\t\\r\\n]+|[ \\t\\r\\n]+\\z", "", [global, {return, binary}]),
    case visible(Key) of
        true -> {ok, Key};
        false -> error
    end;
trimmed_key(_) ->
    error.

%% Whether a prepared text can be a domain name. IP literals and single labels can: what to
%% think of those is the sidecar's decision.
-spec domain(binary()) -> boolean().
domain(Text) when byte_size(Text) >= 1, byte_size(Text) =< 1023 ->
    lists:all(fun domain_label/1, binary:split(Text, <<".">>, [global]));
domain(_) ->
    false.

domain_label(Label) ->
    case lists:all(fun(C) -> C < 128 end, binary_to_list(Label)) of
        true ->
            byte_size(Label) =< 63 andalso
                matches(Label, "^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\\z");
        false ->
            not matches(Label, "[^a-z0-9\\x{80}-\\x{ff}-]")
    end.

matches(Text, Pattern) ->
    re:run(Text, Pattern, [{capture, none}]) == match.

%%% Requests

-spec payload(job(), binary()) -> {get | set, xmlel()}.
payload(#{job := issue} = Job, Remaining) ->
    Certificates = [el(<<"certificate">>, [], [{xmlcdata, base64:encode(Der)}])
                    || Der <- lists:sublist(maps:get(certificates, Job, []), 1)],
    {set, el(<<"issue">>, pair(Job, Remaining) ++ encrypted(Job), Certificates)};
payload(#{job := verify, key := Key} = Job, Remaining) ->
    {get, el(<<"verify">>, pair(Job, Remaining), [{xmlcdata, Key}])};
payload(#{job := check, key := Key} = Job, Remaining) ->
    Certificates = [el(<<"certificate">>, [], [{xmlcdata, base64:encode(Der)}])
                    || Der <- lists:sublist(maps:get(certificates, Job, []), 10)],
    Chain = [{<<"chain">>, Text} || {ok, Text} <- [maps:find(chain, Job)]],
    {get, el(<<"check">>, pair(Job, Remaining) ++ encrypted(Job) ++ Chain,
             [el(<<"key">>, [], [{xmlcdata, Key}]) | Certificates])};
payload(#{job := report, outcomes := Outcomes}, _Remaining) ->
    {set, el(<<"report">>, [], [outcome(Outcome) || Outcome <- Outcomes])}.

pair(#{sender := Sender, target := Target, stream := Stream} = Job, Remaining) ->
    [{<<"sender">>, Sender}, {<<"target">>, Target}, {<<"stream">>, Stream},
     {<<"remaining">>, Remaining}
     | [{<<"ip">>, Ip} || {ok, Ip} <- [maps:find(ip, Job)]]].

encrypted(Job) ->
    [{<<"encrypted">>, atom_to_binary(maps:get(encrypted, Job, false), latin1)}].

outcome(#{role := Role, mechanism := Mechanism, sender := Sender, target := Target,
          stream := Stream, type := Type}) ->
    #xmlel{name = <<"outcome">>,
           attrs = [{<<"role">>, atom_to_binary(Role, latin1)},
                    {<<"mechanism">>, atom_to_binary(Mechanism, latin1)},
                    {<<"sender">>, Sender}, {<<"target">>, Target}, {<<"stream">>, Stream},
                    {<<"type">>, atom_to_binary(Type, latin1)}]}.

el(<<"certificate">> = Name, Attrs, Children) ->
    #xmlel{name = Name, attrs = Attrs, children = Children};
el(<<"key">> = Name, Attrs, Children) ->
    #xmlel{name = Name, attrs = Attrs, children = Children};
el(Name, Attrs, Children) ->
    #xmlel{name = Name, attrs = [{<<"xmlns">>, ?NS} | Attrs], children = Children}.

%%% Replies

-spec answer(issue | verify | check, xmlel()) -> {ok, answer()} | untrusted.
answer(issue, #xmlel{name = <<"key">>} = El) ->
    case trimmed_key(fxml:get_tag_cdata(El)) of
        {ok, Key} -> {ok, {key, Key}};
        error -> untrusted
    end;
answer(Job, #xmlel{name = <<"verdict">>} = El) ->
    Attr = fun(Name) -> fxml:get_tag_attr_s(Name, El) end,
    case Attr(<<"type">>) of
        <<"error">> ->
            {ok, {verdict, error, condition(Attr(<<"condition">>)), reason(Attr(<<"reason">>))}};
        <<"valid">> when Job /= issue ->
            {ok, {verdict, valid, reason(Attr(<<"evidence">>))}};
        <<"invalid">> when Job /= issue ->
            {ok, {verdict, invalid, reason(Attr(<<"reason">>))}};
        _ ->
            untrusted
    end;
answer(_Job, _El) ->
    untrusted.

%% XEP-0220 section 2.5, and what RFC 6120 has for faults of our own.
condition(Text) ->
    Known = [<<"bad-request">>, <<"forbidden">>, <<"internal-server-error">>,
             <<"item-not-found">>, <<"not-acceptable">>, <<"not-authorized">>,
             <<"policy-violation">>, <<"remote-connection-failed">>,
             <<"remote-server-not-found">>, <<"remote-server-timeout">>,
             <<"resource-constraint">>],
    case lists:member(Text, Known) of
        true -> Text;
        false -> <<"internal-server-error">>
    end.

%% Codes for our log: short, and of harmless characters only.
reason(Text) when byte_size(Text) =< 64 ->
    << <<(case C of
              _ when C >= $a, C =< $z; C >= $0, C =< $9; C == $-; C == $_ -> C;
              _ -> $?
          end)>> || <<C>> <= Text >>;
reason(_) ->
    <<"?">>.

%%% The MAC

element(#xmlel{name = Name, attrs = Attrs, children = Children}) ->
    Counted = lists:keysort(1, [Attr || {Key, _} = Attr <- Attrs,
                                        Key /= <<"mac">>, Key /= <<"xmlns">>,
                                        binary:match(Key, <<":">>) == nomatch]),
    Elements = [Child || #xmlel{} = Child <- Children],
    [field(local_name(Name)),
     field(iolist_to_binary([Text || {xmlcdata, Text} <- Children])),
     field(integer_to_binary(length(Counted))),
     [[field(Key), field(Value)] || {Key, Value} <- Counted],
     field(integer_to_binary(length(Elements))),
     [element(Child) || Child <- Elements]].

local_name(Name) ->
    lists:last(binary:split(Name, <<":">>, [global])).

field(Text) ->
    [integer_to_binary(byte_size(Text)), $:, Text].

hmac(Key, Message) ->
    crypto:mac(hmac, sha256, Key, Message).

hex(Bytes) ->
    << <<(hex_digit(N))>> || <<N:4>> <= Bytes >>.

hex_digit(N) when N < 10 -> $0 + N;
hex_digit(N) -> $a + N - 10.

%% In a time that does not depend on where the two differ.
equal(A, B) when byte_size(A) == byte_size(B) ->
    0 == lists:foldl(fun({X, Y}, Acc) -> Acc bor (X bxor Y) end, 0,
                     lists:zip(binary_to_list(A), binary_to_list(B)));
equal(_, _) ->
    false.
