"""The commands, a module for each few that go together."""
