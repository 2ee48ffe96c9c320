"""The prompt registry: versions that nothing can lose, labels that say which one is live."""
