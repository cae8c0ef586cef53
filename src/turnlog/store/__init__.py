"""The store: tree and trim over a backend, written once as coroutines, with its driven sync twin."""
