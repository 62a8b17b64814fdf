"""What runs inside the sandbox after the fork: PrairieLearn's call semantics.

The package guarantees that course code sees exactly the surroundings it was
written for (import path, working directory, seeding, arguments) and that what
it hands back is plain JSON by JavaScript's rules. It refuses to guess: whatever
course code does wrong becomes a question error that names the file, the line or
the key. It keeps nobody out; the sandbox around the process does that.

Trusted code enters through `prairie.session` alone.
"""
