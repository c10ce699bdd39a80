"""The assembly: everything put together into one running daemon. Start at `run`."""
