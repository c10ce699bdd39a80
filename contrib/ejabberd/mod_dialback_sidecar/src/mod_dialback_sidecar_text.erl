%%% What a stream ID, a dialback key and a domain name look like. Pure.
-module(mod_dialback_sidecar_text).

-export([visible/1, trimmed_key/1, domain/1]).

-define(MAX_BYTES, 256).

%% 1 to 256 visible ASCII characters: what a stream ID or a key must be.
-spec visible(binary()) -> boolean().
visible(Text) when byte_size(Text) >= 1, byte_size(Text) =< ?MAX_BYTES ->
    all_visible(Text);
visible(_) ->
    false.

all_visible(<<C, Rest/binary>>) when C >= 16#21, C =< 16#7e -> all_visible(Rest);
all_visible(Rest) -> Rest == <<>>.

%% A received key, trimmed of XML white space.
-spec trimmed_key(binary()) -> {ok, binary()} | error.
trimmed_key(Text) when byte_size(Text) =< 16 * ?MAX_BYTES ->
    Key = trimmed_end(trimmed_start(Text)),
    case visible(Key) of
        true -> {ok, Key};
        false -> error
    end;
trimmed_key(_) ->
    error.

-define(IS_SPACE(C), (C == $\s orelse C == $\t orelse C == $\r orelse C == $\n)).

trimmed_start(<<C, Rest/binary>>) when ?IS_SPACE(C) -> trimmed_start(Rest);
trimmed_start(Text) -> Text.

trimmed_end(<<>>) ->
    <<>>;
trimmed_end(Text) ->
    Size = byte_size(Text) - 1,
    case Text of
        <<Rest:Size/binary, C>> when ?IS_SPACE(C) -> trimmed_end(Rest);
        _ -> Text
    end.

%% Whether a prepared text can be a domain name. IP literals and single labels can: what to
%% think of those is the sidecar's decision.
-spec domain(binary()) -> boolean().
domain(Text) when byte_size(Text) >= 1, byte_size(Text) =< 1023 ->
    lists:all(fun domain_label/1, binary:split(Text, <<".">>, [global]));
domain(_) ->
    false.

domain_label(<<>>) ->
    false;
domain_label(Label) ->
    case script(Label, ascii, false) of
        ascii ->
            byte_size(Label) =< 63 andalso
                binary:first(Label) /= $- andalso binary:last(Label) /= $-;
        Script ->
            Script == other
    end.

%% What a label is written in. An underscore is in ASCII only.
script(<<C, Rest/binary>>, Script, Underscore)
  when C >= $a, C =< $z; C >= $0, C =< $9; C == $- ->
    script(Rest, Script, Underscore);
script(<<$_, Rest/binary>>, Script, _) -> script(Rest, Script, true);
script(<<C, Rest/binary>>, _, Underscore) when C >= 128 -> script(Rest, other, Underscore);
script(<<>>, ascii, _) -> ascii;
script(<<>>, other, false) -> other;
script(_, _, _) -> none.
