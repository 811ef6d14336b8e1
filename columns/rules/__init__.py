"""Classification rules: what a rule says, and the tables that rules are compiled into."""
