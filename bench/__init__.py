"""The bench: what turnlog costs, beside floors written by hand and beside other stores, measured in one interleaved run."""
