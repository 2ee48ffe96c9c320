"""From a question to a request to a run."""
