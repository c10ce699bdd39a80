%%% The link protocol of dialback-sidecar as XML elements: requests out, replies in,
%%% and the MAC over both (docs/link-protocol.md). Pure: no process, no clock, no socket.
-module(mod_dialback_sidecar_wire).

-export([link_key/1, new_ids/0, id/3, node_of_id/1, request/4, reply/4]).

-include("xmpp.hrl").

-define(NS, <<"urn:dialback-sidecar:1">>).
-define(ID_PREFIX, "dialback-").

-type job() :: #{job := issue | verify | check,
                 sender := binary(), target := binary(), stream := binary(),
                 key => binary(), ip => binary(), encrypted => boolean(),
                 chain => binary(), external => binary(), certificates => [binary()]}
             | #{job := report, outcomes := [outcome()]}.
-type outcome() :: #{role := initiating | receiving | authoritative,
                     mechanism := dialback | external,
                     sender := binary(), target := binary(), stream := binary(),
                     type := valid | invalid | error | closed}.
-type answer() :: {key, binary()}
                | {verdict, valid | invalid, binary()}
                | {verdict, error, binary(), binary()}
                | {refused, binary()}.
-opaque link_key() :: {reference(), reference()}.
-export_type([job/0, outcome/0, answer/0, link_key/0]).

%% The key both ends derive from the component's secret, as the two hashes of HMAC (RFC 2104)
%% that began with it: to begin them anew for each message takes longer than the message.
-spec link_key(binary()) -> link_key().
link_key(Secret) ->
    Padded = <<(crypto:mac(hmac, sha256, Secret, [?NS, " link key"]))/binary, 0:256>>,
    {begun(Padded, 16#36), begun(Padded, 16#5c)}.

begun(Padded, Pad) ->
    crypto:hash_update(crypto:hash_init(sha256), << <<(Byte bxor Pad)>> || <<Byte>> <= Padded >>).

%% What all iq ids of one process have in common: 128 random bits, so that none is used twice.
-spec new_ids() -> binary().
new_ids() ->
    hex(crypto:strong_rand_bytes(16)).

%% The iq id with a number that the process uses once; it names the node that waits for the
%% answer.
-spec id(binary(), pos_integer(), binary()) -> binary().
id(Ids, Number, NodeId) ->
    <<?ID_PREFIX, Ids/binary, $-, (integer_to_binary(Number))/binary, $-, NodeId/binary>>.

-spec node_of_id(binary()) -> {ok, binary()} | error.
node_of_id(<<?ID_PREFIX, _:32/binary, $-, Rest/binary>>) ->
    case binary:split(Rest, <<"-">>) of
        [_Number, NodeId] -> {ok, NodeId};
        _ -> error
    end;
node_of_id(_) ->
    error.

%% Put the payload of a job, or of several issues and verifies, with the milliseconds that remain
%% for all of it, into an iq that has its id, from and to already. Returns the request's MAC too:
%% replies are bound to it.
-spec request(iq(), [job(), ...], non_neg_integer(), link_key()) -> {iq(), binary()}.
request(#iq{id = Id, from = From, to = To} = IQ, Jobs, Remaining, LinkKey) ->
    {Type, #xmlel{attrs = Attrs} = Payload} = payload(Jobs, integer_to_binary(Remaining)),
    Mac = mac(LinkKey, [field(<<"request">>), field(Id),
                        field(jid:encode(From)), field(jid:encode(To)),
                        field(atom_to_binary(Type, latin1)), element(Payload)]),
    Signed = Payload#xmlel{attrs = [{<<"xmlns">>, ?NS}, {<<"mac">>, Mac} | Attrs]},
    {IQ#iq{type = Type, sub_els = [Signed]}, Mac}.

%% What a reply says to each job of a request, if it is one: exactly one element of ours, that
%% fits the jobs and has the MAC which only someone with the component's secret can make for this
%% very request.
-spec reply([issue | verify | check, ...], [xmlel() | term()], binary(), link_key()) ->
          {ok, [answer(), ...]} | untrusted.
reply(Jobs, Els, RequestMac, LinkKey) ->
    case [El || #xmlel{} = El <- Els] of
        [#xmlel{} = El] ->
            Expected = mac(LinkKey, [field(<<"reply">>), field(RequestMac), element(El)]),
            Given = fxml:get_tag_attr_s(<<"mac">>, El),
            case fxml:get_tag_attr_s(<<"xmlns">>, El) == ?NS andalso equal(Expected, Given) of
                true -> answers(Jobs, El);
                false -> untrusted
            end;
        _ ->
            untrusted
    end.

%%% Requests

-spec payload([job(), ...], binary()) -> {get | set, xmlel()}.
payload([#{job := report, outcomes := Outcomes}], _Remaining) ->
    {set, el(<<"report">>, [], [outcome(Outcome) || Outcome <- Outcomes])};
payload([Job], Remaining) ->
    {Type, #xmlel{attrs = Attrs} = El} = payload(Job),
    {Type, El#xmlel{attrs = [{<<"remaining">>, Remaining} | Attrs]}};
payload(Jobs, Remaining) ->
    {set, el(<<"batch">>, [{<<"remaining">>, Remaining}],
             [element(2, payload(Job)) || Job <- Jobs])}.

payload(#{job := issue} = Job) ->
    {set, el(<<"issue">>, encrypted(Job, external(Job, pair(Job))), certificates(1, Job))};
payload(#{job := verify, key := Key} = Job) ->
    {get, el(<<"verify">>, pair(Job), [{xmlcdata, Key}])};
payload(#{job := check, key := Key} = Job) ->
    {get, el(<<"check">>, encrypted(Job, optional(<<"chain">>, chain, Job, external(Job, pair(Job)))),
             [el(<<"key">>, [], [{xmlcdata, Key}]) | certificates(10, Job)])}.

pair(#{sender := Sender, target := Target, stream := Stream} = Job) ->
    [{<<"sender">>, Sender}, {<<"target">>, Target}, {<<"stream">>, Stream}
     | optional(<<"ip">>, ip, Job, [])].

encrypted(Job, Attrs) ->
    [{<<"encrypted">>, atom_to_binary(maps:get(encrypted, Job, false), latin1)} | Attrs].

external(Job, Attrs) ->
    optional(<<"external">>, external, Job, Attrs).

optional(Name, Key, Job, Attrs) ->
    case Job of
        #{Key := Value} -> [{Name, Value} | Attrs];
        _ -> Attrs
    end.

certificates(Most, Job) ->
    [el(<<"certificate">>, [], [{xmlcdata, base64:encode(Der)}])
     || Der <- lists:sublist(maps:get(certificates, Job, []), Most)].

outcome(#{role := Role, mechanism := Mechanism, sender := Sender, target := Target,
          stream := Stream, type := Type}) ->
    el(<<"outcome">>, [{<<"role">>, atom_to_binary(Role, latin1)},
                       {<<"mechanism">>, atom_to_binary(Mechanism, latin1)},
                       {<<"sender">>, Sender}, {<<"target">>, Target}, {<<"stream">>, Stream},
                       {<<"type">>, atom_to_binary(Type, latin1)}], []).

el(Name, Attrs, Children) ->
    #xmlel{name = Name, attrs = Attrs, children = Children}.

%%% Replies

-spec answers([issue | verify | check, ...], xmlel()) -> {ok, [answer(), ...]} | untrusted.
answers([Job], El) ->
    case answer(Job, El) of
        {ok, Answer} -> {ok, [Answer]};
        untrusted -> untrusted
    end;
answers(Jobs, #xmlel{name = <<"answers">>, children = Children}) ->
    each_answer(Jobs, [El || #xmlel{} = El <- Children], []);
answers(_Jobs, _El) ->
    untrusted.

each_answer([_ | Jobs], [#xmlel{name = <<"refused">>} = El | Els], Answers) ->
    Condition = reason(fxml:get_tag_attr_s(<<"condition">>, El)),
    each_answer(Jobs, Els, [{refused, Condition} | Answers]);
each_answer([Job | Jobs], [El | Els], Answers) ->
    case answer(Job, El) of
        {ok, Answer} -> each_answer(Jobs, Els, [Answer | Answers]);
        untrusted -> untrusted
    end;
each_answer([], [], Answers) ->
    {ok, lists:reverse(Answers)};
each_answer(_Jobs, _Els, _Answers) ->
    untrusted.

-spec answer(issue | verify | check, xmlel()) -> {ok, answer()} | untrusted.
answer(issue, #xmlel{name = <<"key">>} = El) ->
    case mod_dialback_sidecar_text:trimmed_key(fxml:get_tag_cdata(El)) of
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
                                        local_name(Key) == Key]),
    Elements = [Child || #xmlel{} = Child <- Children],
    [field(local_name(Name)), field(directly_inside(Children)),
     number(Counted), [[field(Key) | field(Value)] || {Key, Value} <- Counted],
     number(Elements) | [element(Child) || Child <- Elements]].

%% (By hand: a search with `binary' would cost as much as all the rest, for each of many names.)
local_name(Name) ->
    local_name(Name, Name).

local_name(<<$:, Rest/binary>>, _) -> local_name(Rest, Rest);
local_name(<<_, Rest/binary>>, Name) -> local_name(Rest, Name);
local_name(<<>>, Name) -> Name.

directly_inside([]) -> <<>>;
directly_inside([{xmlcdata, Text}]) -> Text;
directly_inside(Children) -> iolist_to_binary([Text || {xmlcdata, Text} <- Children]).

number(List) -> field(integer_to_binary(length(List))).

field(Text) ->
    [integer_to_binary(byte_size(Text)), $: | Text].

mac({Inner, Outer}, Message) ->
    Digest = crypto:hash_final(crypto:hash_update(Inner, Message)),
    hex(crypto:hash_final(crypto:hash_update(Outer, Digest))).

hex(Bytes) ->
    << <<(hex_digit(High)), (hex_digit(Low))>> || <<High:4, Low:4>> <= Bytes >>.

hex_digit(N) ->
    element(N + 1, {$0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $a, $b, $c, $d, $e, $f}).

%% In a time that does not depend on where the two differ.
equal(A, B) ->
    byte_size(A) == byte_size(B) andalso equal(A, B, 0).

equal(<<X, A/binary>>, <<Y, B/binary>>, Difference) -> equal(A, B, Difference bor (X bxor Y));
equal(<<>>, <<>>, Difference) -> Difference == 0.
