"""Tries a remote domain as a peer would, and says what is wrong and what to do about it."""
