"""The registry: prompts as files, with versions and labels."""
