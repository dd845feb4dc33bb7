"""A question's way to its answer: session, understanding, facts, prompt, answer."""
