"""Adapters that give other frameworks' agents a turnlog store, one file each: an extra names its framework."""
