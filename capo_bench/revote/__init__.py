"""Another vote, another k, other weights on the critiques that training stored: what would have differed, no model."""
