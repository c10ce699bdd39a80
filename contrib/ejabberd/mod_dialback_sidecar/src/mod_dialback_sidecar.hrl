%% A fault of ours must not open the way to the hooks behind us, and must not end up in the log
%% with all its arguments, for a key may be among them.
-define(GUARD(Expression, Otherwise),
        try Expression
        catch Class__:Reason__:Stack__ ->
                mod_dialback_sidecar:failed(Class__, Reason__, Stack__),
                Otherwise
        end).
