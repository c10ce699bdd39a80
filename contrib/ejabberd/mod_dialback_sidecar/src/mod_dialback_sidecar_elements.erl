%%% The dialback elements that we send as answers (XEP-0220 sections 2.2.1, 2.2.2 and 2.5).
%%% Written by hand: they echo what the peer wrote byte by byte, never its key, and use a
%%% condition that the codec does not know.
-module(mod_dialback_sidecar_elements).

-export([answer/6, malformed/1, error_element/1]).

-include("xmpp.hrl").

-define(NS_ERRORS, <<"urn:ietf:params:xml:ns:xmpp-stanzas">>).

%% The answer to a request with these `from' and `to'; `Id' is undefined for a db:result.
-spec answer(result | verify, binary(), binary(), binary() | undefined,
             valid | invalid | error, [xmlel()]) -> xmlel().
answer(Kind, From, To, Id, Type, Els) ->
    #xmlel{name = <<"db:", (atom_to_binary(Kind, latin1))/binary>>,
           attrs = [{<<"from">>, To}, {<<"to">>, From} | [{<<"id">>, Id} || Id /= undefined]]
               ++ [{<<"type">>, atom_to_binary(Type, latin1)}],
           children = Els}.

%% The answer to an element that cannot be read; what it lacks is not echoed.
-spec malformed(xmlel()) -> xmlel().
malformed(#xmlel{name = Name} = El) ->
    Echo = [{There, Value} || {Here, There} <- [{<<"from">>, <<"to">>}, {<<"to">>, <<"from">>},
                                                {<<"id">>, <<"id">>}],
                              {value, Value} <- [fxml:get_tag_attr(Here, El)]],
    #xmlel{name = Name, attrs = Echo ++ [{<<"type">>, <<"error">>}],
           children = [error_element(<<"bad-request">>)]}.

-spec error_element(binary()) -> xmlel().
error_element(Condition) ->
    #xmlel{name = <<"error">>, attrs = [{<<"type">>, error_type(Condition)}],
           children = [#xmlel{name = Condition, attrs = [{<<"xmlns">>, ?NS_ERRORS}]}]}.

error_type(<<"bad-request">>) -> <<"modify">>;
error_type(<<"not-acceptable">>) -> <<"modify">>;
error_type(<<"policy-violation">>) -> <<"modify">>;
error_type(<<"forbidden">>) -> <<"auth">>;
error_type(<<"not-authorized">>) -> <<"auth">>;
error_type(<<"item-not-found">>) -> <<"cancel">>;
error_type(<<"remote-server-not-found">>) -> <<"cancel">>;
error_type(_) -> <<"wait">>.
