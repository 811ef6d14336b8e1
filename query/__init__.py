"""Questions of people and programs: planned, put to a store, and shown."""
