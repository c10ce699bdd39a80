%% What a stream has asked and is not answered yet.
-record(ask, {number :: pos_integer(),
              ref :: reference(),
              stream :: pid(),
              job :: map(),
              deadline :: integer(),             % all times: monotonic, milliseconds
              due :: integer(),                  % when to ask once more, or to give up
              tried = [] :: [binary()],          % components, the last one first
              alone = false :: boolean()}).      % never again together with others
