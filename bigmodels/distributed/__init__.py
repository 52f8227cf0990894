"""The processes of a run: how they connect, agree, and detect lost ones."""
