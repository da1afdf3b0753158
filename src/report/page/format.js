// Numbers and texts for people.
