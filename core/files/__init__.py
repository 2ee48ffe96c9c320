"""What strangers send, and the child processes in which it is read."""
