"""Plan, dispatch, collect, close and resume rounds."""
