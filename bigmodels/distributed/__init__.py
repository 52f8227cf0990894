"""The processes of a run: how they find, know and watch each other."""
