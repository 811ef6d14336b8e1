"""Real servers for tests: started from packages, on 127.0.0.1, on free ports, ended with the test session."""
