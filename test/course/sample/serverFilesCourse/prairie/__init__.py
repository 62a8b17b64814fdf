"""What the questions of this course share: grading, units, pictures, expressions."""
