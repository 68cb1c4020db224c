"""Real clients: openai-node, curl and the example programs."""
