from sum_even import sum_even

assert sum_even(10) == 30
