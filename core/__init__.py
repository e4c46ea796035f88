"""Everything that trains, and nothing that draws: no widgets, no notebook."""
