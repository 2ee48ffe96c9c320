"""Where things are kept: SQL for what is counted or must not be lost, Chroma for what is searched by meaning."""
