"""From a resolved experiment to a trained run: build, compile, the loop, results."""
