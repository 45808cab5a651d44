"""The data world: every example from a seed, one scene behind image, sound, caption, question and answer."""
