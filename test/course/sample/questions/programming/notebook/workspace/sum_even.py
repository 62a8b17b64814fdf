def sum_even(n):
    """The sum of the even numbers up to n."""
