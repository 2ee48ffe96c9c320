"""What is known of each model: facts, lists, prices."""
