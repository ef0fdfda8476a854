"""A worker follows its aliases: it loads a new release beside the old one, tries it, and exchanges the two."""
