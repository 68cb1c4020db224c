"""One module or package for each container: its `recognise` rule and its reader. `packets` and `id3` serve several."""
