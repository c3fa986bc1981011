"""The command line: `main` has the verbs, `options` what they take, the others what they do."""
