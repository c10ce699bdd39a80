%%% What the server itself knows of the peer behind a stream: address, encryption, certificate.
-module(mod_dialback_sidecar_peer).

-export([facts/1, address/1, chain/1]).

-include("xmpp.hrl").

%% For any job: who is at the other end. The certificate is DER, the leaf only (fast_tls
%% shows no more).
-spec facts(map()) -> map().
facts(State) ->
    Encrypted = maps:get(stream_encrypted, State, false),
    maps:merge(#{encrypted => Encrypted}, maps:merge(address(State), certificate(Encrypted, State))).

%% What the server says of the peer's chain: `valid', or its error in its own words. Not
%% xmpp_stream_pkix: that also compares names, and dies of an xmppAddr in a trusted certificate.
-spec chain(map()) -> map().
chain(#{stream_encrypted := true, socket := Socket}) ->
    try xmpp_socket:get_verify_result(Socket) of
        0 -> #{chain => <<"valid">>};
        Code ->
            try
                {ok, Cert} = xmpp_socket:get_peer_certificate(Socket, otp),
                #{chain => iolist_to_binary(fast_tls:get_cert_verify_string(Code, Cert))}
            catch _:_ -> #{chain => <<"error ", (integer_to_binary(Code))/binary>>}
            end
    catch _:_ -> #{}
    end;
chain(_State) ->
    #{}.

-spec address(map()) -> map().
address(#{ip := {Ip, _Port}}) ->
    #{ip => misc:ip_to_list(Ip)};
address(_State) ->
    #{}.

certificate(true, #{socket := Socket}) ->
    try xmpp_socket:get_peer_certificate(Socket, der) of
        {ok, Der} when is_binary(Der) -> #{certificates => [Der]};
        _ -> #{}
    catch _:_ -> #{}
    end;
certificate(_Encrypted, _State) ->
    #{}.
